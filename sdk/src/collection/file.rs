//! A storage of files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::storage::{Storage, StorageError};
use crate::runtime::{BoxFuture, off_thread};

/// Keeps each text in a file of a directory. A file is replaced as a whole or written to at its end,
/// and is on the disk before that counts as done. A directory serves one process at a time.
#[derive(Debug, Clone)]
pub struct FileStorage {
    directory: Arc<Path>,
    /// Held for as long as this lives.
    locks: Arc<Mutex<BTreeMap<String, File>>>,
}

impl FileStorage {
    /// Files in this directory, which is made when it is needed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into().into(), locks: Arc::default() }
    }

    /// The file of `name`: letters, digits, `-` and `_` stand for themselves.
    fn path(&self, name: &str, extension: &str) -> PathBuf {
        let mut file = String::new();
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                file.push(char::from(byte));
            } else {
                // Writing into a string does not fail.
                let _ = write!(file, "%{byte:02x}");
            }
        }
        self.directory.join(format!("{file}.{extension}"))
    }

    /// Keeps other processes, and other storages of this one, from using the same file.
    fn lock(&self, name: &str) -> Result<(), StorageError> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if locks.contains_key(name) {
            return Ok(());
        }
        let path = self.path(name, "lock");
        fs::create_dir_all(&self.directory).map_err(|error| failed(&self.directory, &error))?;
        let file = File::create(&path).map_err(|error| failed(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {
                locks.insert(name.to_owned(), file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => {
                Err(StorageError::InUse { place: path.display().to_string() })
            }
            Err(TryLockError::Error(error)) => Err(failed(&path, &error)),
        }
    }

    fn replace(&self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        self.lock(name)?;
        let (path, new) = (self.path(name, "json"), self.path(name, "new"));
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|error| failed(&path, &error))
    }
}

impl FileStorage {
    fn extend(&self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        self.lock(name)?;
        let path = self.path(name, "json");
        let write = || -> io::Result<()> {
            let mut file = File::options().append(true).create(true).open(&path)?;
            file.write_all(content)?;
            file.sync_data()
        };
        write().map_err(|error| failed(&path, &error))
    }
}

impl Storage for FileStorage {
    fn read(&self, name: &str) -> BoxFuture<Result<Option<Vec<u8>>, StorageError>> {
        let (storage, name) = (self.clone(), name.to_owned());
        off_thread(move || {
            storage.lock(&name)?;
            let path = storage.path(&name, "json");
            match fs::read(&path) {
                Ok(content) => Ok(Some(content)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed(&path, &error)),
            }
        })
    }

    fn write(&self, name: &str, content: Vec<u8>) -> BoxFuture<Result<(), StorageError>> {
        let (storage, name) = (self.clone(), name.to_owned());
        off_thread(move || storage.replace(&name, &content))
    }

    fn append(&self, name: &str, content: Vec<u8>) -> BoxFuture<Result<(), StorageError>> {
        let (storage, name) = (self.clone(), name.to_owned());
        off_thread(move || storage.extend(&name, &content))
    }

    fn set_aside(&self, name: &str) -> BoxFuture<Result<String, StorageError>> {
        let (storage, name) = (self.clone(), name.to_owned());
        off_thread(move || {
            storage.lock(&name)?;
            let path = storage.path(&name, "json");
            let free = (1..).map(|n| storage.path(&name, &format!("aside-{n}")));
            let aside = free.into_iter().find(|aside| !aside.exists()).unwrap_or_default();
            fs::rename(&path, &aside).map_err(|error| failed(&path, &error))?;
            Ok(aside.display().to_string())
        })
    }
}

fn failed(path: &Path, error: &io::Error) -> StorageError {
    StorageError::Failed { place: path.display().to_string(), problem: error.to_string() }
}
