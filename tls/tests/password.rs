//! Passwords from commands.

use rzeo_tls::{PasswordCommandError, password_from_command};

#[test]
fn the_first_line_is_the_password() {
    let opens_the_key = |command| {
        let password = password_from_command(command).expect("a password");
        // A password cannot be read back, so it has to open a key.
        rzeo_tls::server_config(&rzeo_tls::TlsFiles {
            certificate: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/self_signed.pem")
                .into(),
            key: Some(
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/pkcs8_aes256.pem").into(),
            ),
            password: Some(password),
            authenticate: None,
        })
        .expect(command);
    };
    opens_the_key("echo 1234");
    opens_the_key("printf 1234");
    opens_the_key("printf '1234\\r\\nmore'");
}

#[test]
fn a_command_without_a_password_is_an_error() {
    let failed = password_from_command("echo 1234; exit 3").expect_err("a failure");
    assert!(matches!(failed, PasswordCommandError::Failed { .. }), "{failed}");
    assert!(!failed.to_string().contains("1234 "), "{failed}");
    let silent = password_from_command("true").expect_err("nothing");
    assert!(matches!(silent, PasswordCommandError::Silent { .. }), "{silent}");
    let binary = password_from_command("printf '\\377'").expect_err("no text");
    assert!(matches!(binary, PasswordCommandError::NotText { .. }), "{binary}");
}

#[test]
fn a_passwords_debug_hides_it() {
    let password = password_from_command("echo secret").expect("a password");
    assert!(!format!("{password:?}").contains("secret"));
}
