//! What is asked of etcd and what it answers, in its terms.

use std::time::Duration;

use bytes::Bytes;
use etcd_client::{
    Compare as EtcdCompare, CompareOp, DeleteOptions, GetOptions, KeyValue, PutOptions, ResponseHeader, Txn as EtcdTxn,
    TxnOp, TxnOpResponse, TxnResponse,
};
use tonic::Code;

use crate::error::Error;
use crate::metadata::{Entry, Limits, Range, Revision};
use crate::txn::{Compare, Op, Txn, TxnOutcome};

/// etcd takes 1.5 MiB and 128 operations a request where nobody says otherwise.
pub const LIMITS: Limits = Limits {
    value_bytes: 1 << 20,
    txn_ops: 128,
    txn_bytes: 1 << 20,
    inline_bytes: 1 << 10,
    keeps_programs: false,
    deadline: Duration::from_secs(5),
    forgets_relaxed: false,
};

/// Operations of a request. Those of a transaction within it count beside the number of such transactions.
const OPS: usize = 128;
/// Bytes that a request may have, keys and values apart from each transaction's own overhead.
const REQUEST_BYTES: usize = 1 << 20;
const TXN_OVERHEAD: usize = 64;

/// Bytes that an answer may have: as many entries as a page can hold, each as large as it can be, would be more than
/// anybody writes.
pub const ANSWER_BYTES: usize = 256 << 20;

/// What a request has taken in.
#[derive(Clone, Copy, Default)]
pub struct Room {
    txns: usize,
    /// Operations of the transaction that has most.
    largest: usize,
    bytes: usize,
    leased: bool,
}

impl Room {
    /// Takes in a transaction, if it fits. The first one does.
    pub fn take(&mut self, txn: &Txn) -> bool {
        let (largest, bytes) = (self.largest.max(ops(txn)), self.bytes + txn.bytes() + TXN_OVERHEAD);
        let full = self.txns + 1 + largest > OPS || bytes > REQUEST_BYTES;
        // An entry under a lease that has ended fails its whole request, so it has one of its own.
        if self.txns > 0 && (full || self.leased || leased(txn)) {
            return false;
        }
        *self = Self { txns: self.txns + 1, largest, bytes, leased: leased(txn) };
        true
    }

    /// Takes in several, if all of them fit.
    pub fn take_all(&mut self, txns: &[Txn]) -> bool {
        let mut with_them = *self;
        let fit = txns.iter().all(|txn| with_them.take(txn));
        if fit {
            *self = with_them;
        }
        fit
    }
}

/// Splits transactions into as few requests as take them. Their order does not matter, but is kept.
pub fn groups(txns: Vec<Txn>) -> Vec<Vec<Txn>> {
    let (mut groups, mut room) = (Vec::new(), Room::default());
    let mut group = Vec::new();
    for txn in txns {
        if !room.take(&txn) {
            groups.push(std::mem::take(&mut group));
            room = Room::default();
            room.take(&txn);
        }
        group.push(txn);
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

/// Writes a request that applies each transaction by itself.
pub fn commit(namespace: &str, txns: &[Txn]) -> EtcdTxn {
    match txns {
        [alone] => one(namespace, alone),
        several => {
            let nested: Vec<TxnOp> = several.iter().map(|txn| TxnOp::txn(one(namespace, txn))).collect();
            EtcdTxn::new().and_then(nested)
        }
    }
}

/// Reads what came of each transaction.
pub fn outcomes(namespace: &str, txns: &[Txn], answer: &TxnResponse) -> Vec<TxnOutcome> {
    let revision = revision(answer.header());
    let outcome = |answer: &TxnResponse| match answer.succeeded() {
        true => TxnOutcome::Committed(revision),
        false => TxnOutcome::Conflict(found(namespace, answer.op_responses()).collect()),
    };
    if txns.len() == 1 {
        return vec![outcome(answer)];
    }
    let nested = answer.op_responses().into_iter().filter_map(|answer| match answer {
        TxnOpResponse::Txn(answer) => Some(outcome(&answer)),
        _ => None,
    });
    nested.collect()
}

/// Reads the entries that single keys were asked for.
pub fn found(namespace: &str, answers: Vec<TxnOpResponse>) -> impl Iterator<Item = Option<Entry>> {
    answers.into_iter().filter_map(move |answer| match answer {
        TxnOpResponse::Get(got) => Some(got.kvs().first().and_then(|pair| entry(namespace, pair))),
        _ => None,
    })
}

/// Writes where a page begins, and what it may hold.
pub fn range(namespace: &str, range: &Range) -> (Vec<u8>, GetOptions) {
    let prefix = full(namespace, &range.prefix);
    let from = match &range.after {
        // The next key after it.
        Some(after) if *after >= range.prefix => [full(namespace, after).as_slice(), &[0]].concat(),
        _ if prefix.is_empty() => vec![0],
        _ => prefix.clone(),
    };
    let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
    let options = GetOptions::new().with_range(end_of(&prefix)).with_limit(limit);
    let at = range.at.and_then(|revision| i64::try_from(revision).ok());
    (from, at.map_or(options.clone(), |revision| options.with_revision(revision)))
}

/// Reads an entry; `None` for a key that is not one of ours.
pub fn entry(namespace: &str, pair: &KeyValue) -> Option<Entry> {
    let key = pair.key_str().ok()?.strip_prefix(namespace)?.to_owned();
    Some(Entry { key, value: Bytes::copy_from_slice(pair.value()), revision: number(pair.mod_revision()) })
}

/// Returns the key as etcd has it.
pub fn full(namespace: &str, key: &str) -> Vec<u8> {
    [namespace.as_bytes(), key.as_bytes()].concat()
}

/// Returns the end of the range of keys that begin with `prefix`; a zero stands for that of all keys.
pub fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

pub fn revision(header: Option<&ResponseHeader>) -> Revision {
    header.map_or(0, |header| number(header.revision()))
}

/// Reads a failure. `writes` says whether what was asked may have changed something.
pub fn failure(error: &etcd_client::Error, writes: bool) -> Error {
    let reason = error.to_string();
    let unavailable = |maybe_done| Error::Unavailable { maybe_done, reason: reason.clone() };
    let etcd_client::Error::GRpcStatus(status) = error else {
        return match error {
            etcd_client::Error::InvalidArgs(_) | etcd_client::Error::InvalidUri(_) => failed(reason),
            _ => unavailable(writes),
        };
    };
    match (status.code(), status.message()) {
        (Code::OutOfRange, message) if message.contains("compacted") || message.contains("future revision") => {
            Error::Compacted
        }
        (Code::NotFound, message) if message.contains("lease not found") => Error::NoLease,
        (Code::ResourceExhausted, message) if message.contains("space exceeded") => {
            Error::NoSpace { place: "etcd's data".into() }
        }
        // Refused before anything was done.
        (Code::ResourceExhausted, message) if message.contains("too many requests") => unavailable(false),
        (Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::FailedPrecondition, _) => {
            failed(reason)
        }
        // Timeouts, members without a leader, connections that broke: nobody knows.
        _ => unavailable(writes),
    }
}

fn failed(reason: String) -> Error {
    Error::Failed { place: "etcd".into(), source: reason.into() }
}

fn number(revision: i64) -> Revision {
    Revision::try_from(revision).unwrap_or(0)
}

fn ops(txn: &Txn) -> usize {
    txn.ops.len().max(txn.compares.len())
}

fn leased(txn: &Txn) -> bool {
    txn.ops.iter().any(|op| matches!(op, Op::Put { lease: Some(_), .. }))
}

fn one(namespace: &str, txn: &Txn) -> EtcdTxn {
    let compare = |compare: &Compare| {
        let key = full(namespace, compare.key());
        match compare {
            Compare::Absent(_) => EtcdCompare::version(key, CompareOp::Equal, 0),
            Compare::Unchanged(_, revision) => {
                EtcdCompare::mod_revision(key, CompareOp::Equal, i64::try_from(*revision).unwrap_or(i64::MAX))
            }
        }
    };
    let write = |op: &Op| match op {
        Op::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(full(namespace, key), value.to_vec(), options)
        }
        Op::Delete(key) => TxnOp::delete(full(namespace, key), None),
        Op::DeletePrefix(prefix) => {
            let prefix = full(namespace, prefix);
            let end = end_of(&prefix);
            let from = if prefix.is_empty() { vec![0] } else { prefix };
            TxnOp::delete(from, Some(DeleteOptions::new().with_range(end)))
        }
    };
    let shown = txn.compares.iter().map(|compare| TxnOp::get(full(namespace, compare.key()), None));
    EtcdTxn::new()
        .when(txn.compares.iter().map(compare).collect::<Vec<_>>())
        .and_then(txn.ops.iter().map(write).collect::<Vec<_>>())
        .or_else(shown.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_transactions_share_a_request_as_it_can_hold() {
        let sizes = |txns: &[Txn]| groups(txns.to_vec()).iter().map(Vec::len).collect::<Vec<_>>();
        let put = |number: usize| Txn::default().absent(number.to_string()).put(number.to_string(), "v");
        let many: Vec<Txn> = (0..300).map(put).collect();
        assert_eq!(sizes(&many), [127, 127, 46]);
        // One with five operations leaves room for 123.
        let mut wide = many.clone();
        wide[3] = (0..5).fold(Txn::default(), |txn, number| txn.put(format!("x{number}"), "v"));
        assert_eq!(sizes(&wide), [123, 127, 50]);
        let large: Vec<Txn> = (0..3).map(|number| Txn::default().put(number.to_string(), vec![0; 700_000])).collect();
        assert_eq!(sizes(&large), [1, 1, 1]);
        let mut leased = many[..4].to_vec();
        leased[1] = Txn::default().put_leased("l", "v", crate::lease::LeaseId(1));
        assert_eq!(sizes(&leased), [1, 1, 2]);
        assert_eq!(sizes(&[]), [] as [usize; 0]);
    }

    #[test]
    fn a_prefix_ends_where_the_next_one_begins() {
        assert_eq!(end_of(b"/a/"), b"/a0");
        assert_eq!(end_of(&[7, 0xff, 0xff]), [8]);
        assert_eq!(end_of(b""), [0]);
    }
}
