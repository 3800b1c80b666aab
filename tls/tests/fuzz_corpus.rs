//! What a fuzzer is given, given once with stable Rust; see the test of this name in `fixtures`.

use rzeo_fixtures::fuzz::{check_target, other_crates};

#[test]
fn certificates() {
    check_target("certificates", rzeo_tls::fuzz::certificates, other_crates::certificates(), 300);
}
