//! The example executes jobs that an application enqueues.

#![allow(clippy::unwrap_used, reason = "a failing test panics")]

#[expect(dead_code, reason = "its main is not called")]
#[path = "../examples/worker.rs"]
mod worker;

use std::future::pending;
use std::sync::Arc;

use rzeo_objects::PyValue;
use rzeo_storage::MappingStorage;
use rzeo_tasks::rzeo_zasync::{Call, JobOptions, NewJob};
use rzeo_tasks::{Tasks, new_id};
use rzeo_tokio::{Address, ClientOptions, Host, Settings, StorageSpec, listen, serve};
use tokio::sync::oneshot;

async fn result_of(tasks: &mut Tasks, call: &str, args: Vec<PyValue>) -> Option<i64> {
    let call = Call { call: call.to_owned(), args, kwargs: Vec::new() };
    let job = NewJob { id: new_id(), call, options: JobOptions::default() };
    let oid = tasks.enqueue(&job).await.unwrap();
    tasks.wait(oid).await.unwrap().job.deferred.result?.as_int()
}

#[tokio::test]
async fn the_worker_executes_jobs_in_rust() {
    let storage = StorageSpec { name: "1".to_owned(), storage: Arc::new(MappingStorage::new()) };
    let host = Host::new(&Settings::default(), vec![storage]).unwrap();
    let listeners = listen(&Address::tcp("127.0.0.1", 0)).unwrap();
    let address = listeners[0].address().unwrap();
    let served = tokio::spawn(serve(host.clone(), listeners, None, pending(), pending()));
    let (stop, stopped) = oneshot::channel::<()>();
    let enqueueing = async {
        let client = rzeo_tokio::connect(ClientOptions::new([address.clone()])).await.unwrap();
        let mut tasks = Tasks::new(client, "default");
        tasks.create().await.unwrap();
        assert_eq!(result_of(&mut tasks, "app:add", vec![1.into(), 2.into()]).await, Some(3));
        for count in 1..=2 {
            let counted = result_of(&mut tasks, "app:count", vec!["visits".into()]).await;
            assert_eq!(counted, Some(count));
        }
        drop(stop);
    };
    let working = worker::work(address.clone(), async { drop(stopped.await) });
    let (worked, ()) = tokio::join!(working, enqueueing);
    worked.unwrap();
    served.abort();
}
