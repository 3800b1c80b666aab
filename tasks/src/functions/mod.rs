//! Functions in Rust that jobs call by name.
//!
//! ```
//! use rzeo_tasks::Functions;
//!
//! fn add(a: i64, b: i64) -> Result<i64, String> {
//!     a.checked_add(b).ok_or_else(|| "the sum is too large".to_owned())
//! }
//!
//! let functions = Functions::new().add("app.numbers:add", add);
//! assert!(functions.contains("app.numbers:add"));
//! ```
//!
//! A function does not depend on jobs. Its arguments and its result are converted with serde, by the table of
//! [`rzeo_objects::convert`]. There are four kinds:
//!
//! | added with | executed | its effects |
//! |---|---|---|
//! | [`Functions::add`] | in a thread that may block | at least once |
//! | [`Functions::add_with_context`] | the same; it can ask whether it is to stop | at least once |
//! | [`Functions::add_async`] | as a task | at least once |
//! | [`Functions::add_in_transaction`] | in a thread, in the transaction of its result | exactly once, in the database |
//!
//! The threads are those of the runtime. A function that never returns keeps one, also after its job was given
//! up; tokio and smol have about 500 at most.

mod arity;
mod call;
mod context;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rzeo_objects::{PyValue, Snapshot};

pub use self::arity::{AsyncFunction, Function, FunctionInTransaction, FunctionWithContext};
pub(crate) use self::call::{Arguments, Failed};
pub use self::context::Context;

type Called = Result<PyValue, Failed>;
type Plain = dyn Fn(&Context, &Arguments) -> Called + Send + Sync;
type Async =
    dyn Fn(Context, &Arguments) -> Pin<Box<dyn Future<Output = Called> + Send>> + Send + Sync;
type InTransaction = dyn Fn(&mut Snapshot, &Arguments) -> Called + Send + Sync;

/// A function by its kind.
#[derive(Clone)]
pub(crate) enum Kind {
    Plain(Arc<Plain>),
    Async(Arc<Async>),
    InTransaction(Arc<InTransaction>),
}

/// Functions by name.
#[derive(Clone, Default)]
pub struct Functions(BTreeMap<String, Kind>);

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Functions {
    /// No functions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function of up to eight arguments that returns a [`Result`]. It may block. A panic is a
    /// failure of its job.
    #[must_use]
    pub fn add<A, R>(self, name: &str, function: impl Function<A, R>) -> Self {
        let call = move |_: &Context, arguments: &Arguments| function.call(arguments);
        self.with(name, Kind::Plain(Arc::new(call)))
    }

    /// The same for a function whose first argument is the [`Context`] of its job, so that it can stop early and
    /// store notes.
    #[must_use]
    pub fn add_with_context<A, R>(
        self,
        name: &str,
        function: impl FunctionWithContext<A, R>,
    ) -> Self {
        let call =
            move |context: &Context, arguments: &Arguments| function.call(context, arguments);
        self.with(name, Kind::Plain(Arc::new(call)))
    }

    /// Adds an async function, whose first argument is the [`Context`] of its job.
    #[must_use]
    pub fn add_async<A, R>(self, name: &str, function: impl AsyncFunction<A, R>) -> Self {
        let call = move |context, arguments: &Arguments| function.call(context, arguments);
        self.with(name, Kind::Async(Arc::new(call)))
    }

    /// Adds a function whose first argument is the snapshot of a transaction. What it changes there is
    /// committed together with its result, once. It may be called several times for that: if a record
    /// has to be loaded, and if others have changed what it read. So it does nothing but read and change
    /// the snapshot, and passes on errors of the snapshot.
    #[must_use]
    pub fn add_in_transaction<A, R>(
        self,
        name: &str,
        function: impl FunctionInTransaction<A, R>,
    ) -> Self {
        let call = move |snapshot: &mut Snapshot, arguments: &Arguments| {
            function.call(snapshot, arguments)
        };
        self.with(name, Kind::InTransaction(Arc::new(call)))
    }

    fn with(mut self, name: &str, kind: Kind) -> Self {
        self.0.insert(name.to_owned(), kind);
        self
    }

    /// Whether there is a function of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The names of all functions, in ascending order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Kind> {
        self.0.get(name)
    }
}
