//! The reader of QR codes for browsers that have none of their own: `zxing-wasm` (MIT), which read 74 of 120 bad pictures where
//! others read 19. It is somebody else's file, so it is not in the repository: it is fetched once from the npm registry by
//! `npm pack` at a pinned version, its hashes are looked at, and it lies in the data folder. Without it the page of the gate
//! works by the server's own reader.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, ensure};
use data_encoding::HEXLOWER;

/// The package and its version.
const PACKAGE: &str = "zxing-wasm@3.1.4";
/// The files: where they lie in the package, what we call them, their SHA-256.
const FILES: [(&str, &str, &str); 2] = [
    ("package/dist/iife/reader/index.js", "reader.js", "d33d09ce132a692faffbed0dce656c36cb2573b4b843885a6e036390d1071d95"),
    ("package/dist/reader/zxing_reader.wasm", "reader.wasm", "e8af31edb56d0522f4de74495839385ef019ba8bc90d38e5ecb2f18795d86fb2"),
];

/// The two files of the reader.
#[derive(Debug)]
pub struct Scanner {
    /// The script, for a worker.
    pub script: Vec<u8>,
    /// The WebAssembly module.
    pub module: Vec<u8>,
}

/// The reader that was last found in a folder: it is read once, and it may come while the server runs.
#[derive(Default)]
pub struct Found(Mutex<Option<Arc<Scanner>>>);

impl Found {
    /// The reader, where it was obtained.
    pub fn look(&self, folder: &Path) -> Option<Arc<Scanner>> {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_none() {
            *found = open(&home(folder)).map(Arc::new);
        }
        found.clone()
    }
}

fn home(folder: &Path) -> PathBuf {
    folder.join("scanner")
}

fn is(bytes: &[u8], sha256: &str) -> bool {
    HEXLOWER.encode(&crate::secrets::sha256(bytes)) == sha256
}

/// Reads the files of a folder; nothing that does not have its hash is believed.
fn open(home: &Path) -> Option<Scanner> {
    let [script, module] = FILES.map(|(_, name, sha256)| std::fs::read(home.join(name)).ok().filter(|bytes| is(bytes, sha256)));
    Some(Scanner { script: script?, module: module? })
}

/// Fetches the reader into a folder; nothing happens where it is.
///
/// # Errors
/// A sentence: npm or tar is missing, the registry cannot be reached, or what came is not what was expected.
pub fn obtain(folder: &Path, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let home = home(folder);
    if open(&home).is_some() {
        return Ok(());
    }
    say("fetching the QR reader of the gate page (zxing-wasm, from the npm registry)");
    let parcel = home.with_extension(std::process::id().to_string());
    std::fs::create_dir_all(&parcel).with_context(|| format!("the folder {}", parcel.display()))?;
    let outcome = unpack(&parcel).and_then(|scanner| {
        std::fs::create_dir_all(&home)?;
        for ((_, name, _), bytes) in FILES.iter().zip([&scanner.script, &scanner.module]) {
            std::fs::write(parcel.join(name), bytes)?;
            std::fs::rename(parcel.join(name), home.join(name))?;
        }
        Ok(())
    });
    let _ = std::fs::remove_dir_all(&parcel);
    outcome
}

/// Packs, unpacks and looks at the hashes.
fn unpack(parcel: &Path) -> anyhow::Result<Scanner> {
    let run = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).current_dir(parcel).stdin(Stdio::null()).output().with_context(|| format!("{program} is missing"))?;
        ensure!(done.status.success(), "{program} failed: {}", String::from_utf8_lossy(&done.stderr).lines().last().unwrap_or_default());
        anyhow::Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    };
    let quick = ["pack", PACKAGE, "--silent", "--fetch-retries=1", "--fetch-timeout=20000"];
    let archive = run("npm", &quick)?;
    run("tar", &["-xzf", archive.lines().last().unwrap_or_default()])?;
    let [script, module] = FILES.map(|(path, _, sha256)| {
        let bytes = std::fs::read(parcel.join(path)).with_context(|| format!("{PACKAGE} has no {path}"))?;
        ensure!(is(&bytes, sha256), "{path} of {PACKAGE} is not the file that was expected");
        Ok(bytes)
    });
    Ok(Scanner { script: script?, module: module? })
}
