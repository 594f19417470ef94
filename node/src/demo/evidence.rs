//! The sample evidence, agreements and mappings that ship inside the program. All of it is of our own making.

use std::{fs, io, path::Path};

macro_rules! file {
    ($path:literal) => {
        ($path, include_bytes!(concat!("../../../certs-example/", $path)).as_slice())
    };
}

/// Every file, by its path below `certs-example`.
pub const FILES: &[(&str, &[u8])] = &[
    file!("evidence/field-mission-2026.csv"),
    file!("evidence/field-mission-2026-corrected.csv"),
    file!("evidence/embargo-panel.csv"),
    file!("evidence/manufacture-records.csv"),
    file!("evidence/photos/IMG_0001.jpg"),
    file!("evidence/photos/IMG_0002.jpg"),
    file!("evidence/photos/IMG_0003.jpg"),
    file!("evidence/photos/IMG_0004.jpg"),
    file!("evidence/photos/IMG_0005.jpg"),
    file!("evidence/photos/IMG_0006.jpg"),
    file!("evidence/photos/IMG_0007.jpg"),
    file!("evidence/photos/IMG_0008.jpg"),
    file!("evidence/photos/IMG_0009.jpg"),
    file!("evidence/photos/IMG_0010.jpg"),
    file!("evidence/photos/IMG_0011.jpg"),
    file!("evidence/photos/IMG_0012.png"),
    file!("maps/sample.toml"),
    file!("maps/manufacture.toml"),
    file!("agreements/car-panel.toml"),
    file!("agreements/car-maker.toml"),
    file!("agreements/car-host.toml"),
    file!("agreements/panel-maker.toml"),
];

/// Lays the files out below a folder.
pub fn lay_out(folder: &Path) -> io::Result<()> {
    for (path, bytes) in FILES {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, bytes)?;
    }
    Ok(())
}
