//! Files by their SHA-256: posters, covers, masters. Local disk, through the `object_store` crate, so that a bucket can take
//! its place.

use std::{ops::Range, path::Path, sync::Arc};

use data_encoding::HEXLOWER;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem, path::Path as Key};

/// Where files live.
#[derive(Clone, Debug)]
pub struct Files(Arc<LocalFileSystem>);

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("a file could not be read or written: {0}")]
pub struct FileError(#[from] object_store::Error);

impl Files {
    /// Opens a folder, made where it is missing.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self(Arc::new(LocalFileSystem::new_with_prefix(folder)?)))
    }

    /// Keeps bytes under their hash; the same bytes twice are one file.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn keep(&self, bytes: Vec<u8>) -> Result<[u8; 32], FileError> {
        let hash = crate::secrets::sha256(&bytes);
        self.0.put(&key(&hash), PutPayload::from(bytes)).await?;
        Ok(hash)
    }

    /// Keeps a part of an upload.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn keep_part(&self, upload: uuid::Uuid, no: u16, bytes: Vec<u8>) -> Result<(), FileError> {
        self.0.put(&Key::from(format!("uploads/{upload}/{no:05}")), PutPayload::from(bytes)).await?;
        Ok(())
    }

    /// Reads a part of an upload.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn part(&self, upload: uuid::Uuid, no: u16) -> Result<Vec<u8>, FileError> {
        Ok(self.0.get(&Key::from(format!("uploads/{upload}/{no:05}"))).await?.bytes().await?.to_vec())
    }

    /// Forgets the parts of an upload.
    pub async fn forget_parts(&self, upload: uuid::Uuid, parts: u16) {
        for no in 1..=parts {
            let _ = self.0.delete(&Key::from(format!("uploads/{upload}/{no:05}"))).await;
        }
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn read(&self, hash: &[u8]) -> Result<Vec<u8>, FileError> {
        Ok(self.0.get(&key(hash)).await?.bytes().await?.to_vec())
    }

    /// Streams a range of a file, bytes from-to.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn stream(&self, hash: &[u8], range: Range<u64>) -> Result<poem::Body, FileError> {
        use futures_util::TryStreamExt;
        let options = object_store::GetOptions { range: Some(range.into()), ..Default::default() };
        let got = self.0.get_opts(&key(hash), options).await?;
        Ok(poem::Body::from_bytes_stream(got.into_stream().map_err(std::io::Error::other)))
    }
}

fn key(hash: &[u8]) -> Key {
    let hex = HEXLOWER.encode(hash);
    Key::from(format!("{}/{}", hex.get(..2).unwrap_or("00"), hex))
}
