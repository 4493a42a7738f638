//! What a worker that holds ranks takes in, and what it refuses.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use ids::ModelKey;
use models::DType;
use models::cuda::Missing;
use tls::dev::Authority;
use tls::{Files, Role, Server};
use worker::RankHost;

use super::*;
use crate::rooms::Rooms;

const TOKEN: &str = "the token";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.models/float32/tiny-llama")
}

fn host(files: Option<Files>, rooms: Rooms) -> String {
    let devices = Arc::new(Devices::without_gpus(Missing::Driver("there is none".into())));
    let server = files.map(|files| Server::mutual(files, PROTOCOL, &[Role::Worker]).unwrap());
    let host = Host { devices, rooms, server, token: TOKEN.into() };
    host.listen(([127, 0, 0, 1], 0).into()).unwrap().to_string()
}

fn load(folder: PathBuf, address: &str) -> Load {
    let host = RankHost { worker: "other".into(), address: address.into(), device: "cpu".into() };
    let key = ModelKey::new("o/n", None);
    let (dtype, device) = (Some("float32".into()), Some("cpu".into()));
    Load { key, folder, dtype, device, ranks: 2, rank_hosts: vec![host], streamed: false, keep: false }
}

fn reach(tls: Option<Files>, token: &str) -> Reach {
    Reach { tls, token: token.into() }
}

fn refused(reach: &Reach, load: &Load, bytes: u64) -> anyhow::Error {
    reach.dial(load, bytes, false).err().expect("it is to be refused")
}

#[test]
fn a_rank_is_held_for_a_worker_with_its_certificate_and_given_back_when_that_leaves() {
    let (data, authority) = (tempfile::tempdir().unwrap(), Authority::new().unwrap());
    let files = |role| authority.write(data.path(), role, &[]).unwrap();
    let rooms = Rooms::new(vec![("cpu".into(), 100)], || {});
    let address = host(Some(files(Role::Worker)), rooms.clone());
    let load = load(folder(), &address);

    // Another role's certificate, and another authority's, are no worker's.
    let other = tempfile::tempdir().unwrap();
    let stranger = Authority::new().unwrap().write(other.path(), Role::Worker, &[]).unwrap();
    let ours = data.path().join("ca.pem");
    for wrong in [files(Role::Gateway), Files { authority: Some(ours), ..stranger }] {
        let why = format!("{:#}", refused(&reach(Some(wrong), TOKEN), &load, 60));
        assert!(why.starts_with(&format!("worker other at {address} holds no rank: ")), "{why}");
    }
    let why = format!("{:#}", refused(&reach(None, TOKEN), &load, 60));
    assert!(why.starts_with("worker other at"), "without TLS it hears nothing: {why}");

    let devices = Devices::without_gpus(Missing::Driver("there is none".into()));
    let reach = reach(Some(files(Role::Worker)), TOKEN);
    let lost: OnLoss = Arc::new(|_, loss| panic!("{}", loss.why));
    let at = (Device::CPU, 60);
    let (ranks, followers) =
        Followers::start(&load, at, &devices, Collectives::Auto, &reach, Arc::clone(&lost)).unwrap();
    let model =
        models::load_apart(Rc::new(ranks), &load.folder, Some(DType::Float32), Device::CPU, &mut |_, _| {}).unwrap();
    followers.serve();
    let none = refused(&reach, &load, 60);
    let why = none.downcast_ref::<NoRoom>().expect("that is why").to_string();
    assert!(why.starts_with("worker other: it takes 60 bytes, and of the 100"), "{why}");
    drop(followers);
    drop(model);
    while rooms.take("cpu", 100).is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn other_files_and_another_token_are_refused_in_a_sentence() {
    let rooms = Rooms::new(vec![("cpu".into(), 100)], || {});
    let address = host(None, rooms);
    let why = format!("{:#}", refused(&reach(None, "another"), &load(folder(), &address), 60));
    assert!(why.ends_with("holds no rank: the worker's token is not this cluster's"), "{why}");
    // The host has a folder of the same name, as machines do, and another model in it.
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let digest = models::digest(copy.path()).unwrap();
    let weights = copy.path().join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let load = load(copy.path().to_owned(), &address);
    let wish = |digest: &str| away::wish(&load, (1, "cpu"), 60, digest, false);
    let why = format!("{:#}", reach(None, TOKEN).ask(&load.rank_hosts[0], wish(&digest)).err().unwrap());
    let folder = copy.path().display();
    assert_eq!(
        why,
        format!("the folder {folder} has another model's files there than here; copy the one to the other")
    );
    assert!(reach(None, TOKEN).ask(&load.rank_hosts[0], wish(&models::digest(copy.path()).unwrap())).is_ok());
    // A machine that is not this one is not dialled in plain text.
    let why = format!("{:#}", refused(&reach(None, TOKEN), &self::load(copy.path().into(), "192.0.2.1:7100"), 60));
    assert!(why.ends_with("it is on another machine, and this worker has no [tls] to dial it with"), "{why}");
}
