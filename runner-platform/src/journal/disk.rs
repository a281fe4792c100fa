//! What the database writes to: the medium, or a layer in memory over it.
//!
//! The layer is for a disk that takes no writes any more. The database wants to write even where
//! it is only read (it marks the file as open, and repairs it), and gives up for good after the
//! first write that fails.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    ops::DerefMut,
    sync::{Arc, PoisonError},
};

use redb::StorageBackend;

/// A medium as the database sees it for one opening of it.
#[derive(Debug)]
pub(super) struct Disk {
    medium: Arc<dyn StorageBackend>,
    #[expect(clippy::disallowed_types, reason = "guards the layer for one read or write")]
    layer: Option<std::sync::Mutex<Layer>>,
}

#[derive(Debug)]
struct Layer {
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    len: u64,
}

/// The beginning of the file: everything in it is found from here, and a commit takes effect by
/// changing it. What it points to is never written over before it points elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head(Vec<u8>);

impl Head {
    /// The head as it is on the medium; nothing of one that is empty.
    pub(super) fn of(medium: &dyn StorageBackend) -> io::Result<Option<Self>> {
        if medium.len()? < PAGE as u64 {
            return Ok(None);
        }
        let mut bytes = vec![0; PAGE];
        medium.read(0, &mut bytes)?;
        Ok(Some(Self(bytes)))
    }

    /// Puts it back: what was committed since has not been.
    pub(super) fn restore(&self, medium: &dyn StorageBackend) -> io::Result<()> {
        medium.write(0, &self.0)?;
        medium.sync_data()
    }
}

impl Disk {
    /// The medium itself.
    pub(super) fn direct(medium: Arc<dyn StorageBackend>) -> Self {
        Self { medium, layer: None }
    }

    /// The medium with another head, and nothing written to it.
    pub(super) fn layered(medium: Arc<dyn StorageBackend>, head: &Head) -> io::Result<Self> {
        let layer = Layer { pages: BTreeMap::new(), len: medium.len()? };
        #[expect(clippy::disallowed_types, reason = "see the field")]
        let disk = Self { medium, layer: Some(std::sync::Mutex::new(layer)) };
        disk.write(0, &head.0)?;
        Ok(disk)
    }

    fn layer(&self) -> Option<impl DerefMut<Target = Layer> + '_> {
        let layer = self.layer.as_ref()?;
        Some(layer.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        match self.layer() {
            Some(layer) => Ok(layer.len),
            None => self.medium.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.layer() {
            Some(layer) => layer.read(&*self.medium, offset, out),
            None => self.medium.read(offset, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.layer() {
            Some(mut layer) => {
                layer.pages.retain(|page, _| page * PAGE as u64 <= len);
                layer.len = len;
                Ok(())
            }
            None => self.medium.set_len(len),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.layer() {
            Some(_) => Ok(()),
            None => self.medium.sync_data(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.layer() {
            Some(mut layer) => layer.write(&*self.medium, offset, data),
            None => self.medium.write(offset, data),
        }
    }

    /// The medium stays: it is opened again beneath another database.
    fn close(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Layer {
    fn read(&self, medium: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + out.len() as u64;
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read_available(medium, offset, out)?;
        for (page, bytes) in self.pages.range(offset / PAGE as u64..end.div_ceil(PAGE as u64)) {
            let at = page * PAGE as u64;
            let (from, until) = (offset.max(at), end.min(at + PAGE as u64));
            out[index(from - offset)..index(until - offset)]
                .copy_from_slice(&bytes[index(from - at)..index(until - at)]);
        }
        Ok(())
    }

    fn write(&mut self, medium: &dyn StorageBackend, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        for page in offset / PAGE as u64..end.div_ceil(PAGE as u64) {
            let at = page * PAGE as u64;
            let bytes = match self.pages.entry(page) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let mut bytes = Box::new([0; PAGE]);
                    read_available(medium, at, &mut bytes[..])?;
                    unknown.insert(bytes)
                }
            };
            let (from, until) = (offset.max(at), end.min(at + PAGE as u64));
            bytes[index(from - at)..index(until - at)]
                .copy_from_slice(&data[index(from - offset)..index(until - offset)]);
        }
        self.len = self.len.max(end);
        Ok(())
    }
}

/// Reads what there is; beyond its end a medium is zero.
fn read_available(medium: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
    let there = index(medium.len()?.saturating_sub(offset)).min(out.len());
    out[there..].fill(0);
    medium.read(offset, &mut out[..there])
}

/// Within a buffer that exists, so it fits.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// The database's own page, and more than its head.
const PAGE: usize = 4096;
