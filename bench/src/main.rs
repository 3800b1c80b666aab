//! Loads and commits per second of rzeo, of Python's ZEO and of a floor, measured in turns in one
//! run; then of the Rust client and of Python's. With `--jobs`, queues of jobs.
//!
//! Absolute times on a shared machine are not reliable, so the ratios count, and each figure is the
//! median of several rounds in which the three alternate. With `--against`, two builds of rzeo
//! alternate instead. The floor of loads is a thread per connection that reads a record from a file
//! for every request and sends it; the floor of commits is one thread that, for each commit, appends
//! as many bytes as a commit takes and syncs.

mod client;
mod floor;
mod jobs;
mod rounds;
mod rust_client;
mod servers;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use jobs::Work;
use rounds::{median, rounds};

/// Compare the speed of rzeo with Python's ZEO and with the floor of the machine
#[derive(Parser)]
struct Args {
    /// Start rzeo with this command; `-C FILE --address-file FILE` is appended
    #[arg(long, default_value = "target/release/rzeo serve")]
    rzeo: String,
    /// Run Python's ZEO with this interpreter
    #[arg(long, default_value = ".venv/bin/python")]
    python: String,
    /// Measure for this many seconds each
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Repeat each measurement this many times and print the median
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Compare only the clients
    #[arg(long)]
    clients: bool,
    /// Compare rzeo only with this other command for rzeo, such as an older build
    #[arg(long, value_name = "COMMAND", conflicts_with = "clients")]
    against: Option<String>,
    /// Compare only queues of jobs: rzeo's, and one in plain Python
    #[arg(long, conflicts_with_all = ["clients", "against"])]
    jobs: bool,
    /// Execute this many jobs for each measurement
    #[arg(long, default_value_t = 2_000, requires = "jobs")]
    executed: usize,
}

/// Connections and requests in flight of the rows about loads.
const LOADS: [(usize, usize); 5] = [(1, 1), (1, 32), (8, 1), (8, 32), (32, 32)];

/// Connections of the rows about commits.
const COMMITS: [usize; 3] = [1, 8, 32];

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let time = Duration::from_secs_f64(args.seconds);
    if args.jobs {
        return compare_queues(&args, time);
    }
    let rzeo = servers::start_rzeo(&args.rzeo)?;
    client::populate(rzeo.address)?;
    if let Some(other) = &args.against {
        return compare_builds(&args, rzeo.address, other, time);
    }
    if !args.clients {
        compare_servers(&args, rzeo.address, time)?;
    }
    compare_clients(&args, rzeo.address, time)
}

/// Measures both servers and the floor, in turns.
fn compare_servers(args: &Args, rzeo: SocketAddr, time: Duration) -> std::io::Result<()> {
    let python = servers::start_python(&args.python)?;
    client::populate(python.address)?;
    let floor = floor::start_loads()?;

    println!(
        "loads of 1 KB per second        rzeo      floor     Python   rzeo/floor  rzeo/Python"
    );
    for (connections, window) in LOADS {
        let figures = rounds(args.rounds, || {
            Ok([rzeo, floor, python.address]
                .map(|address| client::loads(address, connections, window, time)))
        })?;
        print_row(&format!("{connections:2} connections, {window:2} in flight"), figures);
    }

    println!(
        "commits of 1 KB per second      rzeo      floor     Python   rzeo/floor  rzeo/Python"
    );
    for connections in COMMITS {
        let figures = rounds(args.rounds, || {
            Ok([
                client::commits(rzeo, connections, time),
                floor::commits(time),
                client::commits(python.address, connections, time),
            ])
        })?;
        print_row(&format!("{connections:2} connections"), figures);
    }
    Ok(())
}

/// Measures rzeo and the other command, in turns.
fn compare_builds(
    args: &Args,
    rzeo: SocketAddr,
    other: &str,
    time: Duration,
) -> std::io::Result<()> {
    let other = servers::start_rzeo(other)?;
    client::populate(other.address)?;
    let both = [rzeo, other.address];
    println!("loads of 1 KB per second        rzeo      other   rzeo/other");
    for (connections, window) in LOADS {
        let figures = rounds(args.rounds, || {
            Ok(both.map(|address| client::loads(address, connections, window, time)))
        })?;
        print_ratio(&format!("{connections:2} connections, {window:2} in flight"), figures);
    }
    println!("commits of 1 KB per second      rzeo      other   rzeo/other");
    for connections in COMMITS {
        let figures = rounds(args.rounds, || {
            Ok(both.map(|address| client::commits(address, connections, time)))
        })?;
        print_ratio(&format!("{connections:2} connections"), figures);
    }
    Ok(())
}

/// Measures queues on both servers, in turns, and beside the commits of the server.
fn compare_queues(args: &Args, time: Duration) -> std::io::Result<()> {
    for is_rzeo in [true, false] {
        let start = || {
            if is_rzeo {
                servers::start_rzeo(&args.rzeo)
            } else {
                servers::start_python(&args.python)
            }
        };
        let name = if is_rzeo { "rzeo" } else { "Python's server" };
        println!(
            "jobs per second on {name:15} rzeo     Python    commits  rzeo/Python  rzeo/commits"
        );
        for work in Work::ALL {
            let [rust, python, commits] = rounds(args.rounds, || {
                Ok([
                    work.rust(&start()?, time, args.executed),
                    work.python(&args.python, &start()?, time, args.executed),
                    jobs::commits(&start()?, time),
                ])
            })?;
            let (to_python, to_commits) = (rust / python, rust / commits);
            let what = work.name();
            println!(
                "{what:26} {rust:10.0} {python:10.0} {commits:10.0} {to_python:12.1} {to_commits:13.2}"
            );
        }
        let [latency] = rounds(args.rounds, || Ok([jobs::latency(&start()?)]))?;
        println!("{:26} {latency:10.1} ms", "enqueue until begun");
    }
    Ok(())
}

/// Measures both clients with rzeo, in turns.
fn compare_clients(args: &Args, address: SocketAddr, time: Duration) -> std::io::Result<()> {
    let [mut warm, mut cold, mut prefetched] = [const { [const { Vec::new() }; 2] }; 3];
    for _ in 0..args.rounds {
        let both =
            [rust_client::rust(address, time)?, rust_client::python(&args.python, address, time)?];
        for (index, figures) in both.into_iter().enumerate() {
            warm[index].push(figures.warm);
            cold[index].push(figures.cold);
            prefetched[index].push(figures.prefetched);
        }
    }
    println!("loads of 1 KB by a client        Rust     Python   Rust/Python");
    for (what, figures) in [
        ("from its cache", warm),
        ("64 at once, not cached", cold),
        ("the same, prefetched", prefetched),
    ] {
        let [rust, python] = figures.map(median);
        println!("{what:26} {rust:10.0} {python:10.0} {:13.1}", rust / python);
    }
    Ok(())
}

fn print_row(what: &str, [rzeo, floor, python]: [f64; 3]) {
    let (to_floor, to_python) = (rzeo / floor, rzeo / python);
    println!("{what:26} {rzeo:10.0} {floor:10.0} {python:10.0} {to_floor:11.2} {to_python:12.1}");
}

fn print_ratio(what: &str, [rzeo, other]: [f64; 2]) {
    println!("{what:26} {rzeo:10.0} {other:10.0} {:12.2}", rzeo / other);
}
