//! A client's cache of blobs, for `tests/test_blob_cache.py`.
//!
//! ```text
//! blob_cache DIRECTORY [SIZE]
//! ```
//!
//! Answers each line of its input with one of its own.

use std::fs;
use std::io::{self, BufRead};
use std::path::Path;
use std::process::ExitCode;

use rzeo_client::blobs::{BlobDir, BlobError, BlobOptions, Download, Fetch, Take, Upload};
use rzeo_core::{Oid, Tid};

/// What is kept from one line to the next.
#[derive(Default)]
struct Kept {
    downloads: Vec<Download>,
    uploads: Vec<Upload>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(directory) = arguments.next() else {
        eprintln!("usage: blob_cache DIRECTORY [SIZE]");
        return ExitCode::FAILURE;
    };
    let mut options = BlobOptions::cache(directory);
    options.cache_size = arguments.next().and_then(|size| size.parse().ok());
    let dir = match BlobDir::open(&options) {
        Ok(dir) => dir,
        Err(error) => {
            println!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("open");
    let mut kept = Kept::default();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<_> = line.split(' ').collect();
        match answer(&dir, &mut kept, &words) {
            Ok(answer) => println!("{answer}"),
            Err(error) => println!("error: {error}"),
        }
    }
    ExitCode::SUCCESS
}

fn answer(dir: &BlobDir, kept: &mut Kept, words: &[&str]) -> Result<String, BlobError> {
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok()).unwrap_or_default();
    let (oid, serial) = (Oid(number(1)), Tid(number(2)));
    Ok(match words {
        ["path", ..] => dir.path_of(oid, serial)?.display().to_string(),
        ["lookup", ..] => match dir.lookup(oid, serial)? {
            Some(blob) => blob.path.display().to_string(),
            None => "none".to_owned(),
        },
        ["download", _, _, file] => match dir.download(oid, serial)? {
            Fetch::Here(_) => "here".to_owned(),
            Fetch::Missing(mut download) => {
                for chunk in fs::read(file).expect("a file to copy").chunks(59_000) {
                    download.append(chunk)?;
                }
                download.finish()?.path.display().to_string()
            }
        },
        ["begin", ..] => match dir.try_download(oid, serial)? {
            None => "locked".to_owned(),
            Some(Fetch::Here(_)) => "here".to_owned(),
            Some(Fetch::Missing(mut download)) => {
                download.append(b"half of it")?;
                kept.downloads.push(download);
                "begun".to_owned()
            }
        },
        ["take", _, _, file] => {
            kept.uploads.push(dir.take_upload(oid, serial, Path::new(file), Take::Move)?);
            "taken".to_owned()
        }
        ["commit", _, _] => {
            let upload = kept.uploads.pop().expect("something was taken");
            upload.committed(serial)?;
            "done".to_owned()
        }
        ["sweep"] => format!("{:?}", dir.sweep()?),
        _ => "what?".to_owned(),
    })
}
