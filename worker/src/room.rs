//! What a worker may take of its machine, as options.

use std::sync::Arc;

use clap::Args;
use engine::{Budget, Settings};

/// How much passes hold, and what is kept between them. As environment variables, the same can be given to
/// `vitrine up`, whose worker reads them.
#[derive(Args, Clone, Debug)]
pub struct Room {
    /// Bytes of hidden states, keys and values that are kept of prompts which come again, of all models together.
    #[arg(long, env = "VITRINE_KEPT_BYTES", default_value = "1G", value_name = "SIZE", value_parser = bytes)]
    kept_bytes: u64,
    /// Bytes of one forward pass, as estimated, beyond which nothing more joins it.
    #[arg(long, env = "VITRINE_PASS_BYTES", default_value = "2G", value_name = "SIZE", value_parser = bytes)]
    pass_bytes: u64,
    /// Bytes of all passes together that are under way and give way to shorter ones, for each model. One that takes more
    /// runs when no other does.
    #[arg(long, env = "VITRINE_LONG_BYTES", default_value = "4G", value_name = "SIZE", value_parser = bytes)]
    long_bytes: u64,
    /// Tokens of one forward pass beyond which nothing more joins it.
    #[arg(long, env = "VITRINE_PASS_TOKENS", default_value_t = 4096, value_name = "COUNT", value_parser = tokens())]
    pass_tokens: i64,
    /// Tokens of one pass that different jobs share. By default 256 on a CPU, for which it takes as long each as for any
    /// more, and as many as a pass may have on a GPU.
    #[arg(long, env = "VITRINE_SHARED_TOKENS", value_name = "COUNT", value_parser = tokens())]
    shared_tokens: Option<i64>,
    /// Tokens of a pass beyond which it gives way to shorter ones after each layer. By default as many as jobs share.
    #[arg(long, env = "VITRINE_LONG_TOKENS", value_name = "COUNT", value_parser = tokens())]
    long_tokens: Option<i64>,
    /// Traces of one session that wait for each other, to share passes, at most.
    #[arg(long, env = "VITRINE_WAITING_TRACES", default_value_t = 1024, value_name = "COUNT")]
    waiting_traces: usize,
    /// Jobs and long passes of one model that have a stack of their own at one time, at most; a tenant has a quarter of
    /// them.
    #[arg(long, env = "VITRINE_LANES", default_value_t = 64, value_name = "COUNT")]
    lanes: usize,
}

/// Tokens of a pass on a CPU, for which it takes as long each as for any more (`make bench ONLY="forward users"`).
pub const SHARED_TOKENS: i64 = 256;

impl Room {
    /// Makes what is kept between passes, of all models together.
    pub fn budget(&self) -> Arc<Budget> {
        Arc::new(Budget::new(self.kept_bytes))
    }

    /// Returns the settings of a model's engine.
    pub fn settings(&self, kept: &Arc<Budget>, on_cpu: bool) -> Settings {
        let shared_tokens = self.shared_tokens.unwrap_or(if on_cpu { SHARED_TOKENS } else { self.pass_tokens });
        Settings {
            pass_tokens: self.pass_tokens,
            shared_tokens,
            long_tokens: self.long_tokens.unwrap_or(shared_tokens),
            pass_bytes: self.pass_bytes,
            long_bytes: self.long_bytes,
            kept: Arc::clone(kept),
            waiting_traces: self.waiting_traces.max(1),
            lanes: self.lanes.max(1),
            ..Settings::default()
        }
    }
}

fn tokens() -> clap::builder::RangedI64ValueParser<i64> {
    clap::value_parser!(i64).range(1..)
}

/// Reads a number of bytes, such as `500000`, `512M` or `1.5G`.
fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 1_u64 << 10),
        Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
        Some((at, 'G' | 'g')) => (&text[..at], 1 << 30),
        Some((at, 'T' | 't')) => (&text[..at], 1 << 40),
        _ => (text, 1),
    };
    let wrong = || format!("{text:?} is no number of bytes; write for example 500000, 512M or 1.5G");
    if let Ok(number) = number.parse::<u64>() {
        return number.checked_mul(unit).ok_or_else(wrong);
    }
    let number = number.parse::<f64>().ok().filter(|number| (0.0..1e6).contains(number)).ok_or_else(wrong)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "it is positive and below 2^60, and need not be exact to the byte"
    )]
    let size = (number * unit as f64) as u64;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        assert_eq!(bytes("500000"), Ok(500_000));
        assert_eq!(bytes("512M"), Ok(512 << 20));
        assert_eq!(bytes(" 1.5g "), Ok(3 << 29));
        assert_eq!(bytes("0"), Ok(0));
        for wrong in ["", "G", "-1", "1.5.2M", "many", "nan", "1e300G", "99999999999999999999", "99999999999T"] {
            assert!(bytes(wrong).is_err_and(|why| why.contains("512M")), "{wrong}");
        }
    }
}
