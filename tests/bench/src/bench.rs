//! What every group of figures is given: the program, the folder, the sizes, and what is made once for several.

use crate::{
    input::{self, Format},
    measure::Against,
    node::Pair,
    ssh::Rsync,
};
use anyhow::{Context, Result};
use std::{
    cell::OnceCell,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

/// How much of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Records of an import and of a first exchange.
    pub records: u64,
    /// Records of the large store.
    pub store: u64,
    /// Bytes of the large attachment.
    pub file_bytes: u64,
    /// How many small attachments, and their size.
    pub files: u64,
    /// Bytes of a small attachment.
    pub small_bytes: u64,
    /// Releases that are timed one by one.
    pub commits: u64,
    /// Look-ups that are timed one by one.
    pub lookups: u64,
    /// Partners that load a node with streams.
    pub load_partners: u64,
    /// Slow connections that load a node.
    pub load_slow: u64,
    /// Runs of which the median is taken.
    pub runs: usize,
}

impl Sizes {
    /// The full sizes, times `scale`.
    pub fn scaled(scale: f64, runs: usize) -> Self {
        let of = |full: u64, least: u64| ((full as f64 * scale) as u64).max(least);
        Self {
            records: of(100_000, 10),
            store: of(1_000_000, 100),
            file_bytes: of(1 << 30, 1 << 16),
            files: of(1_000, 3),
            small_bytes: of(2 << 20, 1 << 12).max(((2 << 20) as f64 * scale.sqrt()) as u64),
            commits: of(500, 5),
            lookups: of(2_000, 20),
            load_partners: of(100, 3),
            load_slow: of(1_000, 30),
            runs,
        }
    }
    /// Whether goals can be held against what is measured.
    pub fn is_full(&self) -> bool {
        let full = Self::scaled(1.0, self.runs);
        *self == full
    }
}

/// One run of the benchmark.
pub struct Bench {
    /// The program under measurement.
    pub program: PathBuf,
    /// The sizes.
    pub sizes: Sizes,
    folder: TempDir,
    pair: OnceCell<Pair>,
    rsync: OnceCell<std::result::Result<Rsync, String>>,
}

impl Bench {
    /// Everything is made below a new folder in `dir`, which is removed at the end.
    pub fn new(program: PathBuf, sizes: Sizes, dir: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("entente-bench-").tempdir_in(dir)?;
        Ok(Self { program, sizes, folder, pair: OnceCell::new(), rsync: OnceCell::new() })
    }

    /// A new folder of this name. It lives as long as what is returned.
    pub fn folder(&self, name: &str) -> Result<TempDir> {
        Ok(tempfile::Builder::new().prefix(name).tempdir_in(self.folder.path())?)
    }

    /// Two empty homes that share the benchmark's agreement, in this folder: copies of a pair that is made once.
    pub fn pair(&self, folder: &Path) -> Result<Pair> {
        if self.pair.get().is_none() {
            drop(self.pair.set(Pair::make(&self.program, &self.folder.path().join("pair"), None)?));
        }
        self.pair.get().context("no pair")?.copy(folder)
    }

    /// The folder in which the disk's limits are measured: the same disk as everything else.
    pub fn disk(&self) -> &Path {
        self.folder.path()
    }

    /// Writes rows and their mapping; file, mapping, and bytes of the file.
    pub fn table(&self, folder: &Path, format: Format, rows: u64) -> Result<(PathBuf, PathBuf, u64)> {
        let file = folder.join(format!("rows.{}", format.ending()));
        let bytes = input::write(&file, format, rows)?;
        Ok((file, self.map(folder, format)?, bytes))
    }

    /// Writes the mapping for a format.
    pub fn map(&self, folder: &Path, format: Format) -> Result<PathBuf> {
        let map = folder.join(format!("map-{}.toml", format.ending()));
        fs::write(&map, input::map(format))?;
        Ok(map)
    }

    /// Runs something as often as asked.
    pub fn repeat<T>(&self, mut once: impl FnMut() -> Result<T>) -> Result<Vec<T>> {
        (0..self.sizes.runs).map(|_| once()).collect()
    }

    /// rsync over ssh as a peer: `amount` of what is counted, for each second that the copy of a folder takes.
    pub fn rsync(&self, from: &Path, amount: f64, fsync: bool) -> Result<std::result::Result<Against, String>> {
        if self.rsync.get().is_none() {
            let started = Rsync::start(&self.folder.path().join("ssh"))?;
            drop(self.rsync.set(started));
        }
        let name = if fsync { "rsync over ssh, --fsync" } else { "rsync over ssh" };
        match self.rsync.get() {
            Some(Ok(rsync)) => {
                let to = self.folder.path().join("rsync-copy");
                let times = self.repeat(|| rsync.copy(from, &to, fsync))?;
                Ok(Ok(Against::new(name, per_second(amount, &times))))
            }
            Some(Err(lacking)) => Ok(Err(if fsync { format!("{lacking}, --fsync") } else { lacking.clone() })),
            None => Ok(Err(name.to_owned())),
        }
    }
}

/// `amount` for each second, of each run.
pub fn per_second(amount: f64, times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| amount / time.as_secs_f64()).collect()
}
