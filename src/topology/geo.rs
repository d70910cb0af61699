//! Whose addresses of the internet are: country and autonomous system, by the MaxMind DB files that the user names.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use maxminddb::{MaxMindDbError, Reader, geoip2};

/// Some MaxMind DB files, asked in their order; none by default.
#[derive(Clone, Default)]
pub struct Geo(Vec<Arc<Reader<Vec<u8>>>>);

impl fmt::Debug for Geo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = self.0.iter().map(|file| &file.metadata().database_type);
        f.debug_list().entries(types).finish()
    }
}

impl Geo {
    /// Opens one more file, and sees whether it is whole.
    ///
    /// # Errors
    /// It can't be read, is no MaxMind DB, or is damaged.
    pub fn open(&mut self, path: &Path) -> Result<(), MaxMindDbError> {
        let file = Reader::open_readfile(path)?;
        file.verify()?;
        self.0.push(Arc::new(file));
        Ok(())
    }

    /// The ISO 3166-1 code of the country that an address is in, else of the one that its block is registered in.
    pub fn country(&self, addr: IpAddr) -> Option<String> {
        self.0.iter().find_map(|file| {
            let found: geoip2::Country<'_> = file.lookup(addr).ok()?.decode().ok()??;
            let code = found.country.iso_code.or(found.registered_country.iso_code);
            code.map(str::to_owned)
        })
    }

    /// The autonomous system that announces an address, such as `AS64500 Example`.
    pub fn autonomous_system(&self, addr: IpAddr) -> Option<String> {
        self.0.iter().find_map(|file| {
            let found: geoip2::Asn<'_> = file.lookup(addr).ok()?.decode().ok()??;
            let number = found.autonomous_system_number?;
            Some(match found.autonomous_system_organization {
                Some(name) => format!("AS{number} {name}"),
                None => format!("AS{number}"),
            })
        })
    }
}
