//! A gateway on a socket, as clients that are many, slow or hostile meet it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod administration;
mod away;
mod check;
mod etcd;
mod gone;
mod grpc;
mod results;
mod several;
mod site;
mod submissions;
mod uploads;
mod users;
