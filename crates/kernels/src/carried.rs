//! What goes between ranks with an order or an answer.

use collectives::{Group, Lost, Patience, Stretch};
use tch::{Device, Kind, TchError, Tensor};

use crate::raw::Raw;

/// A tensor on its way: its bytes on the CPU, or itself where a group carries devices' memory.
pub enum Carried {
    Here(Raw),
    /// End to end on its device.
    There(Tensor),
}

/// What is sent.
pub enum Sent<'a> {
    Bytes(&'a [u8]),
    Tensor(&'a Carried),
}

/// What is to be taken in: as many bytes, or a tensor.
pub enum Wanted<'a> {
    Bytes(&'a mut [u8]),
    Tensor(&'a mut Carried),
}

impl Carried {
    /// Takes a tensor to be sent in a group from a device.
    ///
    /// # Errors
    /// When there is no memory for a copy.
    pub fn of(tensor: &Tensor, group: &dyn Group, device: Device) -> Result<Self, TchError> {
        if by_device(group, device) {
            return Ok(Self::There(tensor.f_detach()?.f_to_device(device)?.f_contiguous()?));
        }
        Raw::of(tensor).map(Self::Here)
    }

    /// Makes room for a tensor that comes in a group to a device.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn empty(size: &[i64], kind: Kind, group: &dyn Group, device: Device) -> Result<Self, TchError> {
        if by_device(group, device) {
            return Tensor::f_empty(size, (kind, device)).map(Self::There);
        }
        Raw::empty(size, kind).map(Self::Here)
    }

    pub fn length(&self) -> usize {
        match self {
            Self::Here(raw) => raw.bytes().len(),
            Self::There(tensor) => tensor.numel() * tensor.kind().elt_size_in_bytes(),
        }
    }

    pub fn send(&self, group: &dyn Group, patience: Patience) -> Result<(), Lost> {
        match (self, group.devices()) {
            (Self::Here(raw), _) => group.send(raw.bytes(), patience),
            // SAFETY: the tensor lies there end to end. Who gets its memory next is computed behind this on its device.
            (Self::There(tensor), Some(devices)) => unsafe { devices.send(stretch(tensor), patience) },
            (Self::There(_), None) => Err(Lost::Broken(group.rank())),
        }
    }

    pub fn receive(&mut self, group: &dyn Group, from: usize, patience: Patience) -> Result<(), Lost> {
        match (self, group.devices()) {
            (Self::Here(raw), _) => group.receive(from, raw.bytes_mut(), patience),
            // SAFETY: as above; and `empty` made it for nobody else.
            (Self::There(tensor), Some(devices)) => unsafe { devices.receive(from, stretch(tensor), patience) },
            (Self::There(_), None) => Err(Lost::Broken(group.rank())),
        }
    }

    pub fn tensor(self) -> Tensor {
        match self {
            Self::Here(raw) => raw.tensor(),
            Self::There(tensor) => tensor,
        }
    }
}

impl Sent<'_> {
    pub fn length(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Tensor(carried) => carried.length(),
        }
    }

    pub fn send(&self, group: &dyn Group, patience: Patience) -> Result<(), Lost> {
        match self {
            Self::Bytes(bytes) => group.send(bytes, patience),
            Self::Tensor(carried) => carried.send(group, patience),
        }
    }
}

impl Wanted<'_> {
    pub fn length(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Tensor(carried) => carried.length(),
        }
    }

    pub fn receive(&mut self, group: &dyn Group, from: usize, patience: Patience) -> Result<(), Lost> {
        match self {
            Self::Bytes(bytes) => group.receive(from, bytes, patience),
            Self::Tensor(carried) => carried.receive(group, from, patience),
        }
    }
}

/// Takes in what lies in a tensor that a rank sends, of which only the bytes are known: as they are on a device, if the group
/// carries that one's memory.
///
/// # Errors
/// When the group has ended, or ends by this; inside, when there is no memory for them.
pub fn take(group: &dyn Group, from: usize, bytes: u64, device: Device) -> Result<Result<Carried, TchError>, Lost> {
    let size = [i64::try_from(bytes).map_err(|_| Lost::Broken(from))?];
    let mut room = match Carried::empty(&size, Kind::Uint8, group, device) {
        Ok(room) => room,
        Err(error) => return Ok(Err(error)),
    };
    room.receive(group, from, None)?;
    Ok(Ok(room))
}

fn by_device(group: &dyn Group, device: Device) -> bool {
    group.devices().is_some() && matches!(device, Device::Cuda(_))
}

fn stretch(tensor: &Tensor) -> Stretch {
    Stretch { address: tensor.data_ptr().addr(), bytes: tensor.numel() * tensor.kind().elt_size_in_bytes() }
}
