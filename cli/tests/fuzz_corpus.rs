//! What a fuzzer is given, given once with stable Rust; see the test of this name in `fixtures`.

use rzeo_fixtures::fuzz::{check_door, elsewhere};

#[test]
fn zconfig() {
    check_door("zconfig", rzeo::fuzz::zconfig, elsewhere::zconfig(), 1000);
}
