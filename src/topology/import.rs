//! Reads files and folders of EC2 JSON, whatever their names and encoding, and hands their records to the assembly.

use std::path::{Path, PathBuf};
use std::{fs, io};

use chrono::{DateTime, Utc};
use serde_json::{Deserializer, Value};

use super::TopologyError;
use super::assemble::{Assembly, Imported, Origin, Weight};
use super::ec2::{self, Contents};
use super::model::Kind;

/// Imports every file, and every folder whole, as the network's state at `at`.
///
/// Inside a folder, files that are not EC2 JSON are noted and left out.
///
/// # Errors
/// A file that was named is not EC2 JSON, a folder has none, a file cannot be read or breaks off.
pub fn import(paths: &[PathBuf], at: DateTime<Utc>) -> Result<Imported, TopologyError> {
    let mut import = Import::default();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|source| TopologyError::Read {
            path: path.clone(),
            source,
        })?;
        if metadata.is_dir() {
            import.read_folder(path)?;
        } else if let Some(found) = import.read_file(path)? {
            return Err(TopologyError::NotEc2 {
                path: path.clone(),
                found,
            });
        }
    }
    Ok(import.assembly.finish(at))
}

#[derive(Debug, Default)]
struct Import {
    assembly: Assembly,
}

impl Import {
    fn read_folder(&mut self, folder: &Path) -> Result<(), TopologyError> {
        let mut paths = Vec::new();
        self.collect_files(folder, &mut paths)?;
        paths.sort();
        let mut any = false;
        for path in &paths {
            match self.read_file(path)? {
                None => any = true,
                Some(found) => self.assembly.note(format!(
                    "{}: left out, not EC2 JSON: holds {found}",
                    path.display()
                )),
            }
        }
        if any {
            return Ok(());
        }
        let found = match paths.len() {
            0 => "no `*.json` file".to_owned(),
            count => format!("{count} `*.json` files that hold something else"),
        };
        Err(TopologyError::EmptyFolder {
            path: folder.to_owned(),
            found,
        })
    }

    /// Links to folders are not followed: they may lead in circles.
    fn collect_files(
        &mut self,
        folder: &Path,
        paths: &mut Vec<PathBuf>,
    ) -> Result<(), TopologyError> {
        let unreadable = |source| TopologyError::Read {
            path: folder.to_owned(),
            source,
        };
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            let kind = entry.file_type().map_err(unreadable)?;
            let is_json = path
                .extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
            if kind.is_dir() {
                self.collect_files(&path, paths)?;
            } else if !is_json {
                self.assembly.note(format!(
                    "{}: left out, its name does not end in `.json`",
                    path.display()
                ));
            } else if path.is_dir() {
                self.assembly
                    .note(format!("{}: left out, a link to a folder", path.display()));
            } else {
                paths.push(path);
            }
        }
        Ok(())
    }

    /// Reads one file; gives what it holds instead if that is not EC2 JSON.
    fn read_file(&mut self, path: &Path) -> Result<Option<String>, TopologyError> {
        let bytes = fs::read(path).map_err(|source| TopologyError::Read {
            path: path.to_owned(),
            source,
        })?;
        let text = decode_text(bytes).map_err(|source| TopologyError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut other = None;
        let mut origin = None;
        for document in Deserializer::from_str(&text).into_iter::<Value>() {
            let document = document.map_err(|source| TopologyError::Json {
                path: path.to_owned(),
                line: source.line(),
                column: source.column(),
                source,
            })?;
            let description = ec2::describe(&document);
            let contents = Contents::of(document);
            if contents.is_ec2 {
                let origin =
                    *origin.get_or_insert_with(|| self.assembly.add_origin(Origin::of_file(path)));
                self.take(contents, origin, path);
            } else {
                other = Some(description);
            }
        }
        if origin.is_some() {
            return Ok(None);
        }
        Ok(Some(other.unwrap_or_else(|| "nothing".to_owned())))
    }

    fn take(&mut self, contents: Contents, origin: usize, path: &Path) {
        let assembly = &mut self.assembly;
        for note in contents.notes {
            assembly.note(format!("{}: {note}", path.display()));
        }
        for listing in contents.listings {
            assembly.list(origin, listing);
        }
        for value in contents.instance_interfaces {
            assembly.add(origin, Kind::NetworkInterfaces, value, Weight::Instance);
        }
        if let Some(entries) = contents.entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match ec2::prefix_list_in(&name) {
                Some(id) => {
                    let list = serde_json::json!({"PrefixListId": id, "Entries": entries});
                    assembly.add(origin, Kind::PrefixLists, list, Weight::Own);
                }
                None => assembly.note(format!(
                    "{}: prefix list entries are left out: the file name does not name their list, expected `pl-…` in it",
                    path.display()
                )),
            }
        }
    }
}

impl Origin {
    fn of_file(path: &Path) -> Self {
        let folder = path.parent().unwrap_or(Path::new(""));
        Self {
            name: path.display().to_string(),
            group: folder.display().to_string(),
            asked: None,
        }
    }
}

/// UTF-8, with or without a mark, or the UTF-16 that PowerShell's `>` writes.
fn decode_text(bytes: Vec<u8>) -> io::Result<String> {
    let utf16 = |from_bytes: fn([u8; 2]) -> u16| {
        let units: Vec<_> = bytes[2..]
            .chunks_exact(2)
            .map(|pair| from_bytes([pair[0], pair[1]]))
            .collect();
        String::from_utf16(&units)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    };
    match bytes.as_slice() {
        [0xff, 0xfe, ..] => utf16(u16::from_le_bytes),
        [0xfe, 0xff, ..] => utf16(u16::from_be_bytes),
        _ => {
            let text = String::from_utf8(bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            Ok(text
                .strip_prefix('\u{feff}')
                .map(str::to_owned)
                .unwrap_or(text))
        }
    }
}

/// Imports one document, as a test has it in memory.
#[cfg(test)]
pub(super) fn import_document(document: Value, at: DateTime<Utc>) -> Imported {
    let path = Path::new("world.json");
    let mut import = Import::default();
    let origin = import.assembly.add_origin(Origin::of_file(path));
    import.take(Contents::of(document), origin, path);
    import.assembly.finish(at)
}

#[cfg(test)]
mod tests;
