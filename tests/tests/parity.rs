//! Results through the server are those of local nnsight, in one process with the same models.

use tests::Data;

#[test]
fn remote_results_are_those_of_local_nnsight() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    server.client("parity.py").succeed();
}
