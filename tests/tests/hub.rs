//! The mirror of the Hugging Face Hub, as the hub's own client sees it.

use tests::{Data, http};

#[test]
fn the_hub_client_gets_configuration_and_tokenizer_but_no_weights() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    server.client("hub.py").succeed();
    for path in [
        "/ndif-test/tiny-gpt2/resolve/main/../../../../etc/passwd",
        "/ndif-test/tiny-gpt2/resolve/main/..%2F..%2F..%2Fetc%2Fpasswd",
        "/ndif-test/tiny-gpt2/resolve/main/%2Fetc%2Fpasswd",
        "/ndif-test/tiny-gpt2/resolve/main/../tiny-llama/config.json",
    ] {
        assert_eq!(http::get(&server.url, path).status, 404, "{path}");
    }
    let post = http::ask(&server.url, "POST", "/api/models/ndif-test/tiny-gpt2", &[], b"");
    assert_eq!(post.status, 405);
}
