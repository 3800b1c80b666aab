//! The examples work: the client counts its runs at the server, which begins with an empty database.

#[expect(dead_code, reason = "its main is not called")]
#[path = "../examples/client.rs"]
mod client;
#[expect(dead_code, reason = "its main is not called")]
#[path = "../examples/server.rs"]
mod server;

use rzeo_tokio::Address;
use tokio::sync::oneshot;

#[tokio::test]
async fn the_client_counts_its_runs_at_the_server() {
    let directory = tempfile::tempdir().expect("a directory for the socket");
    let address = Address::unix(directory.path().join("socket"));
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = server::serve(&address, async { drop(stopped.await) });
    let counting = async {
        for expected in 1..=2 {
            let (count, _tid) = client::count_run(address.clone()).await.expect("it is served");
            assert_eq!(count, expected);
        }
        drop(stop);
    };
    let (served, ()) = tokio::join!(serving, counting);
    served.expect("the server ends well");
}

/// The runtime would panic; the error names the function to call instead.
#[tokio::test]
async fn serving_in_a_blocking_way_inside_a_runtime_is_refused() {
    let settings = rzeo_tokio::Settings::default();
    let host = rzeo_tokio::Host::new(&settings, Vec::new()).expect("no storage, no error");
    let refused =
        rzeo_tokio::serve_blocking(host, Vec::new(), None, async {}, std::future::pending());
    let error = refused.expect_err("the runtime would be blocked").to_string();
    assert!(error.contains("use serve("), "{error}");
}
