//! test worlds
