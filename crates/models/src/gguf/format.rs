//! How elements of a tensor are stored in a GGUF file: in blocks of few bits each, with what they are multiplied by.
//!
//! Values are what the Python package `gguf` makes of the same blocks, bit for bit.

use half::{bf16, f16};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    F32,
    F16,
    BF16,
    /// 32 elements of 4 bits around 8, with a scale.
    Q4_0,
    /// 32 elements of 4 bits, with a scale and a minimum.
    Q4_1,
    /// 32 elements of 5 bits around 16, with a scale.
    Q5_0,
    /// 32 elements of 5 bits, with a scale and a minimum.
    Q5_1,
    /// 32 elements of 8 bits, with a scale.
    Q8_0,
    /// 8 times 32 elements of 4 bits, each with 6 bits of scale and of minimum.
    Q4K,
    /// The same of 5 bits.
    Q5K,
    /// 16 times 16 elements of 6 bits around 32, each with 8 bits of scale.
    Q6K,
}

impl Format {
    /// All formats: the number that files have for each, and its name.
    const ALL: [(u32, &'static str, Self); 11] = [
        (0, "F32", Self::F32),
        (1, "F16", Self::F16),
        (2, "Q4_0", Self::Q4_0),
        (3, "Q4_1", Self::Q4_1),
        (6, "Q5_0", Self::Q5_0),
        (7, "Q5_1", Self::Q5_1),
        (8, "Q8_0", Self::Q8_0),
        (12, "Q4_K", Self::Q4K),
        (13, "Q5_K", Self::Q5K),
        (14, "Q6_K", Self::Q6K),
        (30, "BF16", Self::BF16),
    ];

    /// Returns the format of a number.
    ///
    /// # Errors
    /// A sentence for one that is not supported.
    pub fn of_code(code: u32) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(own, ..)| *own == code);
        found.map(|(.., format)| *format).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(_, name, _)| *name).collect();
            format!("format {code} is not supported; {} are", names.join(", "))
        })
    }

    /// Returns the elements and the bytes of one block.
    #[must_use]
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::BF16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    /// Appends the elements of one block. A block of another size gives nothing.
    pub(super) fn decode(self, block: &[u8], values: &mut Vec<f32>) {
        if block.len() != self.block().1 {
            return;
        }
        match (self, block) {
            (Self::F32, &[a, b, c, d]) => values.push(f32::from_le_bytes([a, b, c, d])),
            (Self::F16, &[a, b]) => values.push(half(a, b)),
            (Self::BF16, &[a, b]) => values.push(bf16::from_le_bytes([a, b]).to_f32()),
            (Self::Q4_0, &[a, b, ref quants @ ..]) => {
                let scale = half(a, b);
                values.extend(nibbles(quants).map(|quant| (f32::from(quant) - 8.0) * scale));
            }
            (Self::Q4_1, &[a, b, c, d, ref quants @ ..]) => {
                let (scale, minimum) = (half(a, b), half(c, d));
                values.extend(nibbles(quants).map(|quant| f32::from(quant) * scale + minimum));
            }
            (Self::Q5_0, &[a, b, c, d, e, f, ref quants @ ..]) => {
                let scale = half(a, b);
                values.extend(fives([c, d, e, f], quants).map(|quant| (f32::from(quant) - 16.0) * scale));
            }
            (Self::Q5_1, &[a, b, c, d, e, f, g, h, ref quants @ ..]) => {
                let (scale, minimum) = (half(a, b), half(c, d));
                values.extend(fives([e, f, g, h], quants).map(|quant| f32::from(quant) * scale + minimum));
            }
            (Self::Q8_0, &[a, b, ref quants @ ..]) => {
                let scale = half(a, b);
                values.extend(quants.iter().map(|&quant| f32::from(quant.cast_signed()) * scale));
            }
            (Self::Q4K, &[a, b, c, d, ref rest @ ..]) => {
                let (scales, quants) = rest.split_at(12);
                eights([half(a, b), half(c, d)], scales, &[], quants, values);
            }
            (Self::Q5K, &[a, b, c, d, ref rest @ ..]) => {
                let (scales, rest) = rest.split_at(12);
                let (high, quants) = rest.split_at(32);
                eights([half(a, b), half(c, d)], scales, high, quants, values);
            }
            (Self::Q6K, &[ref rest @ .., a, b]) => {
                let (low, rest) = rest.split_at(128);
                let (high, scales) = rest.split_at(64);
                sixteens(half(a, b), scales, high, low, values);
            }
            _ => {}
        }
    }
}

fn half(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

/// The low four bits of each byte, then the high ones.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(|pair| pair & 15).chain(bytes.iter().map(|pair| pair >> 4))
}

/// The same with a fifth bit of each.
fn fives(high: [u8; 4], bytes: &[u8]) -> impl Iterator<Item = u8> {
    let high = u32::from_le_bytes(high);
    nibbles(bytes).enumerate().map(move |(index, low)| low | ((high >> index & 1) as u8) << 4)
}

/// Eight times 32 elements, whose scales and minimums share twelve bytes. `high` has a fifth bit of each, or nothing.
fn eights([scale, minimum]: [f32; 2], six: &[u8], high: &[u8], quants: &[u8], values: &mut Vec<f32>) {
    let byte = |index: usize| six.get(index).copied().unwrap_or_default();
    for (index, pairs) in (0..8).zip(quants.chunks_exact(32).flat_map(|pairs| [pairs, pairs])) {
        let (own_scale, own_minimum) = match index {
            0..4 => (byte(index) & 63, byte(index + 4) & 63),
            _ => {
                let (both, upper) = (byte(index + 4), [byte(index - 4), byte(index)].map(|byte| byte >> 2 & 0x30));
                (both & 15 | upper[0], both >> 4 | upper[1])
            }
        };
        let (scale, minimum) = (scale * f32::from(own_scale), minimum * f32::from(own_minimum));
        values.extend(pairs.iter().enumerate().map(|(at, pair)| {
            let low = pair >> (4 * (index % 2)) & 15;
            let fifth = high.get(at).map_or(0, |bits| bits >> index & 1);
            scale * f32::from(low | fifth << 4) - minimum
        }));
    }
}

/// Sixteen times 16 elements of six bits.
fn sixteens(scale: f32, scales: &[u8], high: &[u8], low: &[u8], values: &mut Vec<f32>) {
    let mut scales = scales.iter().map(|own| scale * f32::from(own.cast_signed()));
    for (low, high) in low.chunks_exact(64).zip(high.chunks_exact(32)) {
        // Four rows of 32: the low halves of bytes first, then the high ones, beside two bits each of the same 32 bytes.
        for row in 0..4 {
            let low = low.iter().skip(row % 2 * 32).map(move |pair| pair >> (row / 2 * 4) & 15);
            let quants = low.zip(high).map(|(low, bits)| low | (bits >> (2 * row) & 3) << 4);
            let mut quants = quants.map(|quant| f32::from(quant) - 32.0);
            for scale in scales.by_ref().take(2) {
                values.extend(quants.by_ref().take(16).map(|quant| scale * quant));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// Four blocks of bytes that mean nothing, in which nothing that is multiplied by is infinite.
    fn blocks(format: Format) -> Vec<u8> {
        let (mut state, bytes) = (1_u32, format.block().1);
        let mut all: Vec<u8> = (0..4 * bytes)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let scales: &[usize] = match format {
            Format::F32 => &[3],
            Format::Q6K => &[209],
            Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K => &[1, 3],
            _ => &[1],
        };
        for block in all.chunks_exact_mut(bytes) {
            scales.iter().for_each(|at| block[*at] &= 0xbf);
        }
        all
    }

    /// SHA-256 of the values that `gguf.dequantize` of the Python package `gguf` 0.19.0 makes of [`blocks`].
    const DIGESTS: [(&str, &str); 11] = [
        ("F32", "2a5032c8b6190c1285d7168519ab62af0bfcd8957dd39d743cac15eaf5b29ed6"),
        ("F16", "1dd722406f5e52c5eecf1a7563e4de25395d651aaa67e0077c3ae85921ff7c21"),
        ("Q4_0", "73f1d34d0ff9a7bcae1a69917a828332fb4599187a59c0f86b88ed80eb4a1a43"),
        ("Q4_1", "bda8ddd72648ba4bab6ccbe4aef43ce948462414355bf669183bb9ea393d8810"),
        ("Q5_0", "2c4609256b2499822481b035305815754722247a913df95786f5163e1ba7346d"),
        ("Q5_1", "2c59d548bac29145d5562cbd03645bdb8fb58462153e5aa1c5ac058ce326d84c"),
        ("Q8_0", "985b7fd25391b0c91d341f6fd0aceae571faecf79d5dca090a587ee5e50c3451"),
        ("Q4_K", "d1c13dbc825b5e2755627d04d7861a2540ca5139bb934e48a0e8e35cea63035d"),
        ("Q5_K", "f9b9068eacadfe76e65b1ee5385f16503f80f2e7b92624f973fe629c5a48a274"),
        ("Q6_K", "01f9ca51b6b0c6b55a25e4c2630cabdfcb4b6dcecccbe35ca7ab4bb0807e5fe8"),
        ("BF16", "6a1953f91206d1d62692e2627399b90ab5029134f0afdb28584bc436fa621d5d"),
    ];

    #[test]
    fn values_are_those_of_the_python_package() {
        for ((_, name, format), (expected_name, expected)) in Format::ALL.iter().zip(DIGESTS) {
            let (mut values, blocks) = (Vec::new(), blocks(*format));
            blocks.chunks_exact(format.block().1).for_each(|block| format.decode(block, &mut values));
            assert_eq!(values.len(), 4 * format.block().0, "{name}");
            let digest = Sha256::digest(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((*name, digest.as_str()), (expected_name, expected));
        }
    }

    #[test]
    fn a_format_that_is_not_supported_is_refused_by_its_number() {
        let refused = Format::of_code(16).unwrap_err();
        assert!(refused.starts_with("format 16 is not supported; F32, F16, Q4_0, ") && refused.ends_with("BF16 are"));
    }
}
