//! The peer that people use today: rsync over ssh, to a server of our own on the loopback.
//!
//! The server has keys made for this run, in a temporary folder, on a port that the system chooses; it is
//! stopped by its process id. Where a program is missing the peer is absent, and the reason says which.

use anyhow::{Result, ensure};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Where programs are looked for; sshd is rarely on a user's path.
const FOLDERS: [&str; 6] = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin", "/usr/local/sbin"];

/// The path of an installed program.
pub fn program(name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
}

/// A server of our own, and the client's side of it.
#[derive(Debug)]
pub struct Rsync {
    server: Child,
    rsync: PathBuf,
    shell: String,
}

impl Rsync {
    /// Starts the server. The inner error says what this machine lacks.
    pub fn start(folder: &Path) -> Result<std::result::Result<Self, String>> {
        let found = |name: &str| program(name).ok_or_else(|| format!("rsync over ssh (no `{name}`)"));
        let all = || Ok([found("rsync")?, found("ssh")?, found("sshd")?, found("ssh-keygen")?]);
        let [rsync, ssh, sshd, keygen] = match all() {
            Ok(programs) => programs,
            Err(lacking) => return Ok(Err(lacking)),
        };
        fs::create_dir_all(folder)?;
        for key in ["host", "user"] {
            let path = folder.join(key);
            let made = Command::new(&keygen).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status()?;
            ensure!(made.success(), "ssh-keygen made no key");
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let at = folder.display();
        let settings = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nPidFile none\nPermitRootLogin prohibit-password\nUseDNS no\n"
        );
        fs::write(folder.join("sshd_config"), settings)?;
        let log = fs::File::create(folder.join("sshd.log"))?;
        let mut command = Command::new(sshd);
        command.arg("-D").arg("-e").arg("-f").arg(folder.join("sshd_config"));
        let mut server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.try_wait()?.is_some();
            if ended || begun.elapsed() > Duration::from_secs(10) {
                drop(server.kill());
                drop(server.wait());
                let said = fs::read_to_string(folder.join("sshd.log"))?;
                return Ok(Err(format!("rsync over ssh (sshd does not start: {})", said.trim())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let shell = format!(
            "{} -p {port} -i {at}/user -c aes256-gcm@openssh.com -o BatchMode=yes -o StrictHostKeyChecking=no \
             -o UserKnownHostsFile={at}/known -o LogLevel=ERROR -o ControlPath=none",
            ssh.display()
        );
        Ok(Ok(Self { server, rsync, shell }))
    }

    /// Copies a folder to a new one, as fast as rsync does or with `--fsync`; the copy is removed afterwards.
    pub fn copy(&self, from: &Path, to: &Path, fsync: bool) -> Result<Duration> {
        let mut command = Command::new(&self.rsync);
        command.arg("-a").args(fsync.then_some("--fsync")).args(["-e", &self.shell]);
        command.arg(format!("{}/", from.display())).arg(format!("127.0.0.1:{}/", to.display()));
        let begun = Instant::now();
        let output = command.stdin(Stdio::null()).output()?;
        let time = begun.elapsed();
        ensure!(output.status.success(), "rsync failed: {}", String::from_utf8_lossy(&output.stderr));
        fs::remove_dir_all(to)?;
        Ok(time)
    }
}

impl Drop for Rsync {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
