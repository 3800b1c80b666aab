//! What a fuzzer is given, given once with stable Rust; see the test of this name in `fixtures`.

use rzeo_fixtures::fuzz::{check_target, other_crates};

#[test]
fn zconfig() {
    check_target("zconfig", rzeo::fuzz::zconfig, other_crates::zconfig(), 1000);
}
