//! What lies in the memory of the devices, by what it is for: measured where it lies, not by what files say.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use store::DeviceMemory;

use crate::device::{Devices, Space};

/// The weights of the models that are here. Clones share them.
#[derive(Clone, Default)]
pub struct Weights(Arc<Mutex<Vec<Weak<Lies>>>>);

/// A model's weights, as long as they are where they are.
pub struct Lies {
    pub device: String,
    pub model: String,
    pub bytes: u64,
}

impl Weights {
    /// Notes that a model's weights lie somewhere, until what is returned is dropped.
    pub fn lie(&self, lies: Lies) -> Arc<Lies> {
        let lies = Arc::new(lies);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&lies));
        lies
    }

    fn on(&self, device: &str) -> Vec<Arc<Lies>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|lies| lies.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).filter(|lies| lies.device == device).collect()
    }
}

/// Measures the memory of each device. `warm` is what weights take that are kept in the machine's memory.
pub fn measure(devices: &Devices, weights: &Weights, warm: u64) -> Vec<DeviceMemory> {
    devices.spaces().into_iter().map(|space| measured(&space, &weights.on(&space.name), warm)).collect()
}

fn measured(space: &Space, models: &[Arc<Lies>], warm: u64) -> DeviceMemory {
    let weights: u64 = models.iter().map(|lies| lies.bytes).sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are bytes")]
    let trunks = models.iter().map(|lies| engine::metrics::TRUNKS.with(&[&lies.model]).get() as u64).sum();
    // Copies are made of what is packed, and weights kept, on the CPU alone.
    let (copies, warm) = if space.gpu { (0, 0) } else { (kernels::copies(), warm) };
    let known = [weights, copies, trunks, warm, space.free].into_iter().fold(0, u64::saturating_add);
    // Keys and values, activations, tensors of jobs, programs, and whatever others have.
    let (free, other) = (space.free, space.all.saturating_sub(known));
    let kinds = [
        ("weights", weights),
        ("copies", copies),
        ("trunks", trunks),
        ("warm", warm),
        ("free", free),
        ("other", other),
    ];
    DeviceMemory {
        device: space.name.clone(),
        kinds: kinds.into_iter().map(|(kind, bytes)| (kind.to_owned(), bytes)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_where_they_are_until_their_model_is_gone() {
        let weights = Weights::default();
        let lies = |device: &str, bytes| Lies { device: device.into(), model: "o/n".into(), bytes };
        let one = weights.lie(lies("cpu", 5));
        let _two = weights.lie(lies("cuda:0", 7));
        let space = Space { name: "cpu".into(), gpu: false, free: 30, all: 1 << 60 };
        let of = |kind: &str| {
            let memory = measured(&space, &weights.on("cpu"), 0);
            memory.kinds.iter().find(|(name, _)| name == kind).map(|(_, bytes)| *bytes)
        };
        assert_eq!((of("weights"), of("free"), of("warm")), (Some(5), Some(30), Some(0)));
        assert_eq!(of("other"), Some((1 << 60) - 35 - of("copies").unwrap()));
        drop(one);
        assert_eq!(of("weights"), Some(0));
    }
}
