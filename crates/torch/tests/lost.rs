//! A GPU that has asserted is lost to the whole process, and that can be told. In a process of its own, therefore.

use tch::{Kind, Tensor};
use torch::Device;
use torch::cuda::{Search, check};

#[test]
fn a_lost_gpu_is_told_from_one_that_only_refused() {
    Search { folder: Some(mock::folder()), ..Search::default() }.load().unwrap();
    let rows = Tensor::ones([3, 4], (Kind::Float, tch::Device::Cuda(0)));
    let index = |index: i64| Tensor::from_slice(&[index]).to_device(tch::Device::Cuda(0));
    assert!(rows.f_matmul(&rows).is_err());
    assert_eq!(check(Device::cuda(0)), Ok(()));
    // Nothing of a block comes here unchecked: this is what would happen if it did.
    assert!(rows.f_index_select(0, &index(3)).is_err());
    assert!(check(Device::cuda(0)).unwrap_err().starts_with("CUDA error: device-side assert triggered"));
    assert!(rows.f_sum(Kind::Float).unwrap_err().to_string().contains("device-side assert"));
    assert_eq!(check(Device::CPU), Ok(()));
}
