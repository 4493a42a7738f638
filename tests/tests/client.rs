//! The real client, in each of its ways of waiting, against a worker that answers as told.

use tests::Data;

#[test]
fn the_client_gets_its_answers_in_every_mode() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    server.client("canned.py").succeed();
}
