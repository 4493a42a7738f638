//! What a client gets does not depend on who else is there.

use tests::Data;

#[test]
fn i1_i2_eight_clients_at_once_get_what_each_gets_alone() {
    let data = Data::default();
    // The lone client; the crowd, two of which are one tenant; those who send what nobody should notice.
    let tenants = ["alone", "a", "b", "c", "d", "e", "f", "g", "g", "endless", "trouble"];
    let keys = data.keys(&tenants);
    let server = data.up().tiny_models().one_thread().start();
    let worker = server.children();
    let said = server.client("crowd.py").env("KEYS", keys.join(",")).succeed();
    print!("{said}");
    assert_eq!(server.children(), worker, "the worker lives on");
}
