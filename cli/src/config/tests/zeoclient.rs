//! The settings of `<zeoclient>`.

use super::*;

#[test]
fn the_fewest_and_all_settings_of_a_client() {
    let read =
        |lines: &str| match read(&format!("{ZEO}{lines}")).unwrap().storages.pop().unwrap().kind {
            StorageKind::Zeo(client) => *client,
            other => panic!("{other:?}"),
        };

    let least = read("<zeoclient z>\nserver 1\n</zeoclient>");
    let expected = ZeoClientConfig {
        servers: vec![Address::tcp("127.0.0.1", 1)],
        blob_dir: None,
        shared_blob_dir: false,
        blob_cache_size: None,
        blob_cache_size_check: None,
        storage: "1".into(),
        cache_size: 20 << 20,
        name: String::new(),
        cache_path: None,
        wait_timeout: Duration::from_secs(30),
        read_only: false,
        read_only_fallback: false,
        client_label: None,
        ssl: None,
    };
    assert_eq!(least, expected);
    let all = read(
        "<zeoclient z>\nserver B:2\nserver /s\nblob-dir b\nshared-blob-dir on\nblob-cache-size 1kb\n\
         blob-cache-size-check 7\nstorage main\ncache-size 2\nname n\nclient c\nvar v\n\
         min-disconnect-poll 1\nmax-disconnect-poll 2\nwait off\nread-only on\n\
         read-only-fallback on\nusername u\npassword p\nrealm r\ndrop-cache-rather-verify on\n\
         client-label l\nwait-timeout 0.5\n<ssl>\ncertificate c\nkey k\nauthenticate a\n\
         check-hostname off\nserver-hostname h\npassword-command p\n</ssl>\n</zeoclient>",
    );
    let expected = ZeoClientConfig {
        servers: vec![Address::tcp("b", 2), Address::unix("/s")],
        blob_dir: Some("b".into()),
        shared_blob_dir: true,
        blob_cache_size: Some(1024),
        blob_cache_size_check: Some(7),
        storage: "main".into(),
        cache_size: 2,
        name: "n".into(),
        cache_path: Some("v/c-main.zec".into()),
        wait_timeout: Duration::from_millis(500),
        read_only: true,
        read_only_fallback: true,
        client_label: Some("l".into()),
        ssl: Some(ClientTlsConfig {
            certificate: "c".into(),
            key: Some("k".into()),
            password: Some(KeyPassword::Command("p".into())),
            authenticate: Some("a".into()),
            check_hostname: false,
            server_hostname: Some("h".into()),
        }),
    };
    assert_eq!(all, expected);
}
