//! Functions of up to eight arguments: the conversion of arguments and results.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;

use rzeo_objects::convert::{from_value, to_value};
use rzeo_objects::{PyValue, Snapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Arguments, Failed};
use super::context::Context;

/// A function that jobs can call. Implemented for `Fn(…) -> Result<T, E>` of up to eight arguments.
///
/// `A` and `R` are the types of its arguments and of its result; they are inferred.
pub trait Function<A, R>: Send + Sync + 'static {
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "only this crate calls functions")]
    fn call(&self, arguments: &Arguments) -> Result<PyValue, Failed>;
}

/// As [`Function`], with a [`Context`] as first argument.
pub trait FunctionWithContext<A, R>: Send + Sync + 'static {
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "only this crate calls functions")]
    fn call(&self, context: &Context, arguments: &Arguments) -> Result<PyValue, Failed>;
}

/// As [`Function`], with a [`Context`] as first argument and a future as result.
pub trait AsyncFunction<A, R>: Send + Sync + 'static {
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "only this crate calls functions")]
    fn call(
        &self,
        context: Context,
        arguments: &Arguments,
    ) -> Pin<Box<dyn Future<Output = Result<PyValue, Failed>> + Send>>;
}

/// As [`Function`], with a [`Snapshot`] as first argument.
pub trait FunctionInTransaction<A, R>: Send + Sync + 'static {
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "only this crate calls functions")]
    fn call(&self, snapshot: &mut Snapshot, arguments: &Arguments) -> Result<PyValue, Failed>;
}

impl Arguments {
    /// Fails unless there are this many.
    fn check(&self, count: usize) -> Result<(), Failed> {
        if let Some((name, _)) = self.kwargs.first() {
            let text = format!("the function takes no keyword arguments, such as {name:?}");
            return Err(Failed::finally("arguments", text));
        }
        if self.args.len() != count {
            let text = format!("the function takes {count} arguments, not {}", self.args.len());
            return Err(Failed::finally("arguments", text));
        }
        Ok(())
    }

    fn get<T: DeserializeOwned>(&self, at: usize) -> Result<T, Failed> {
        let value = self.args.get(at).unwrap_or(&PyValue::NONE);
        from_value(value)
            .map_err(|error| Failed::finally("arguments", format!("argument {}: {error}", at + 1)))
    }
}

fn converted<T: Serialize, E: Display>(result: Result<T, E>) -> Result<PyValue, Failed> {
    let result = result.map_err(Failed::error)?;
    to_value(&result).map_err(|error| Failed::finally("result", error))
}

macro_rules! functions {
    ($count:literal: $($name:ident $at:literal),*) => {
        impl<F, T, E, $($name),*> Function<($($name,)*), (T, E)> for F
        where
            F: Fn($($name),*) -> Result<T, E> + Send + Sync + 'static,
            T: Serialize,
            E: Display,
            $($name: DeserializeOwned,)*
        {
            #[expect(private_interfaces, reason = "only this crate calls functions")]
            fn call(&self, arguments: &Arguments) -> Result<PyValue, Failed> {
                arguments.check($count)?;
                converted(self($(arguments.get::<$name>($at)?),*))
            }
        }

        impl<F, T, E, $($name),*> FunctionWithContext<($($name,)*), (T, E)> for F
        where
            F: Fn(&Context, $($name),*) -> Result<T, E> + Send + Sync + 'static,
            T: Serialize,
            E: Display,
            $($name: DeserializeOwned,)*
        {
            #[expect(private_interfaces, reason = "only this crate calls functions")]
            fn call(&self, context: &Context, arguments: &Arguments) -> Result<PyValue, Failed> {
                arguments.check($count)?;
                converted(self(context, $(arguments.get::<$name>($at)?),*))
            }
        }

        impl<F, O, T, E, $($name),*> AsyncFunction<($($name,)*), (O, T, E)> for F
        where
            F: Fn(Context, $($name),*) -> O + Send + Sync + 'static,
            O: Future<Output = Result<T, E>> + Send + 'static,
            T: Serialize,
            E: Display,
            $($name: DeserializeOwned,)*
        {
            #[expect(private_interfaces, reason = "only this crate calls functions")]
            fn call(
                &self,
                context: Context,
                arguments: &Arguments,
            ) -> Pin<Box<dyn Future<Output = Result<PyValue, Failed>> + Send>> {
                let start = || {
                    arguments.check($count)?;
                    Ok(self(context, $(arguments.get::<$name>($at)?),*))
                };
                let started = start();
                Box::pin(async move { converted(started?.await) })
            }
        }

        impl<F, T, E, $($name),*> FunctionInTransaction<($($name,)*), (T, E)> for F
        where
            F: Fn(&mut Snapshot, $($name),*) -> Result<T, E> + Send + Sync + 'static,
            T: Serialize,
            E: Display,
            $($name: DeserializeOwned,)*
        {
            #[expect(private_interfaces, reason = "only this crate calls functions")]
            fn call(
                &self,
                snapshot: &mut Snapshot,
                arguments: &Arguments,
            ) -> Result<PyValue, Failed> {
                arguments.check($count)?;
                converted(self(snapshot, $(arguments.get::<$name>($at)?),*))
            }
        }
    };
}

functions!(0:);
functions!(1: A 0);
functions!(2: A 0, B 1);
functions!(3: A 0, B 1, C 2);
functions!(4: A 0, B 1, C 2, D 3);
functions!(5: A 0, B 1, C 2, D 3, G 4);
functions!(6: A 0, B 1, C 2, D 3, G 4, H 5);
functions!(7: A 0, B 1, C 2, D 3, G 4, H 5, I 6);
functions!(8: A 0, B 1, C 2, D 3, G 4, H 5, I 6, J 7);

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(args: &[i64]) -> Arguments {
        Arguments { args: args.iter().map(|arg| (*arg).into()).collect(), kwargs: vec![] }
    }

    fn call<A, R>(function: &impl Function<A, R>, arguments: &Arguments) -> Result<String, String> {
        let called = function.call(arguments).map(|value| format!("{value:?}"));
        called.map_err(|failed| format!("{}: {}", failed.failure.kind, failed.failure.message))
    }

    #[test]
    fn arguments_and_results_are_converted() {
        let add = |a: i64, b: u8| a.checked_add(i64::from(b)).ok_or("too large");
        assert_eq!(call(&add, &arguments(&[1, 2])), Ok("3".into()));
        assert_eq!(call(&add, &arguments(&[i64::MAX, 1])), Err("error: too large".into()));
        let one = Err("arguments: the function takes 2 arguments, not 1".into());
        assert_eq!(call(&add, &arguments(&[1])), one);
        let error = call(&add, &arguments(&[1, 256])).unwrap_err();
        assert!(error.starts_with("arguments: argument 2: "), "{error}");
        let kwargs = vec![("key".to_owned(), PyValue::NONE)];
        let error = call(&add, &Arguments { kwargs, ..arguments(&[1, 2]) }).unwrap_err();
        assert_eq!(error, "arguments: the function takes no keyword arguments, such as \"key\"");
    }
}
