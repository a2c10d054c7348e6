//! What may block on the way to an engine: names and trust anchors, on helper threads.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

const THREADS: usize = 4;
/// Look-ups that wait; beyond it a connection fails at once.
const MAX_JOBS: usize = 1024;
/// Different `ca_file`s whose trust anchors are kept.
const MAX_CONFIGS: usize = 32;

/// Where to connect and how.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// What is to be looked up; `reply` is called on a helper thread.
pub(crate) struct Lookup {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) secure: bool,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) reply: Box<dyn FnOnce(Result<Resolved, String>) + Send>,
}

/// The helper threads.
#[derive(Debug)]
pub(crate) struct Resolver {
    jobs: Option<SyncSender<Lookup>>,
    threads: Vec<JoinHandle<()>>,
}

/// A reactor's way to the helpers.
#[derive(Debug, Clone)]
pub(crate) struct ResolverHandle(SyncSender<Lookup>);

impl ResolverHandle {
    /// Queues a look-up; too many at a time are answered at once with an error.
    pub(crate) fn submit(&self, lookup: Lookup) {
        if let Err(TrySendError::Full(lookup) | TrySendError::Disconnected(lookup)) = self.0.try_send(lookup)
        {
            (lookup.reply)(Err("too many engine connections are being set up".into()));
        }
    }
}

impl Resolver {
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, receiver) = sync_channel(MAX_JOBS);
        let receiver = Arc::new(Mutex::new(receiver));
        let configs = Arc::new(Mutex::new(HashMap::new()));
        let mut threads = Vec::with_capacity(THREADS);
        for index in 0..THREADS {
            let (receiver, configs) = (Arc::clone(&receiver), Arc::clone(&configs));
            let name = format!("trunkline-dns-{index}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || run(&receiver, &configs))?);
        }
        Ok(Self { jobs: Some(jobs), threads })
    }

    pub(crate) fn handle(&self) -> ResolverHandle {
        ResolverHandle(
            self.jobs.clone().expect("the sender is taken in `stop` only, which ends the resolver"),
        )
    }

    /// Ends the threads once every handle is gone. One that hangs in the system's resolver is left
    /// behind after a second; it ends with its look-up.
    #[expect(clippy::disallowed_methods, reason = "std has no join with a time limit")]
    pub(crate) fn stop(&mut self) {
        self.jobs = None;
        for _ in 0..1000 {
            if self.threads.iter().all(JoinHandle::is_finished) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            let _ = thread.join();
        }
    }
}

type Configs = Mutex<HashMap<Option<PathBuf>, Arc<ClientConfig>>>;

fn run(receiver: &Mutex<Receiver<Lookup>>, configs: &Configs) {
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(lookup) = next else {
            return;
        };
        let result = look_up(&lookup, configs);
        (lookup.reply)(result);
    }
}

fn look_up(lookup: &Lookup, configs: &Configs) -> Result<Resolved, String> {
    let tls = if lookup.secure { Some(tls_config(lookup.ca_file.as_ref(), configs)?) } else { None };
    let addresses = match lookup.host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, lookup.port)],
        Err(_) => (lookup.host.as_str(), lookup.port)
            .to_socket_addrs()
            .map_err(|error| format!("cannot resolve {}: {error}", lookup.host))?
            .collect(),
    };
    if addresses.is_empty() {
        return Err(format!("{} has no address", lookup.host));
    }
    Ok(Resolved { addresses, tls })
}

fn tls_config(ca_file: Option<&PathBuf>, configs: &Configs) -> Result<Arc<ClientConfig>, String> {
    let key = ca_file.cloned();
    if let Some(config) = configs.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(Arc::clone(config));
    }
    let config = build_config(ca_file.map(PathBuf::as_path))?;
    let mut configs = configs.lock().unwrap_or_else(PoisonError::into_inner);
    if configs.len() < MAX_CONFIGS {
        configs.insert(key, Arc::clone(&config));
    }
    Ok(config)
}

fn build_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("cannot read trust anchors from {}: {error}", path.display()))?;
        if certificates.is_empty() {
            return Err(format!("{} holds no certificate", path.display()));
        }
        for certificate in certificates {
            roots
                .add(certificate)
                .map_err(|error| format!("{} holds an unusable certificate: {error}", path.display()))?;
        }
    }
    if roots.is_empty() {
        return Err("the system has no trust anchors (on Debian: apt install ca-certificates)".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
