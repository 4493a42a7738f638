//! The memory that models may take, by device, and who has it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What models may take. Clones share it.
#[derive(Clone)]
pub struct Rooms {
    /// All there is, and what is taken, by device.
    devices: Arc<BTreeMap<String, Mutex<(u64, u64)>>>,
    /// Called when something was given back.
    freed: Arc<dyn Fn() + Send + Sync>,
}

/// What a model takes of a device, until it is dropped.
pub struct Taken {
    rooms: Rooms,
    device: String,
    bytes: u64,
}

impl Rooms {
    /// Makes rooms of so many bytes. `freed` is called when something was given back.
    pub fn new(devices: Vec<(String, u64)>, freed: impl Fn() + Send + Sync + 'static) -> Self {
        let devices = devices.into_iter().map(|(name, bytes)| (name, Mutex::new((bytes, 0)))).collect();
        Self { devices: Arc::new(devices), freed: Arc::new(freed) }
    }

    /// Takes a part of a device's memory. A device that is not known has room for anything.
    ///
    /// # Errors
    /// A sentence, where others have too much.
    pub fn take(&self, device: &str, bytes: u64) -> Result<Taken, String> {
        if let Some(room) = self.devices.get(device) {
            let (all, taken) = &mut *room.lock().unwrap_or_else(PoisonError::into_inner);
            if taken.saturating_add(bytes) > *all {
                return Err(format!(
                    "it takes {bytes} bytes, and of the {all} that models may have on {device}, others have {taken}"
                ));
            }
            *taken += bytes;
        }
        Ok(Taken { rooms: self.clone(), device: device.to_owned(), bytes })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(room) = self.rooms.devices.get(&self.device) {
            room.lock().unwrap_or_else(PoisonError::into_inner).1 -= self.bytes;
        }
        (self.rooms.freed)();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is_until_something_is_given_back() {
        let freed = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&freed);
        let rooms = Rooms::new(vec![("cpu".into(), 10)], move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let one = rooms.take("cpu", 6).ok().unwrap();
        let why = rooms.take("cpu", 5).err().unwrap();
        assert_eq!(why, "it takes 5 bytes, and of the 10 that models may have on cpu, others have 6");
        let _two = rooms.take("cpu", 4).ok().unwrap();
        drop(one);
        assert_eq!(freed.load(Ordering::Relaxed), 1);
        assert!(rooms.take("cpu", 6).is_ok());
        assert!(rooms.take("cuda:7", u64::MAX).is_ok(), "nobody measured it");
    }
}
