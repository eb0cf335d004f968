//! Settings: one struct from flags and environment; `--help` is the manual. A bad setting is a sentence, not a panic.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use url::Url;

/// Where the database and the files are.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The folder of this house: files, master key, and the private Postgres where DATABASE_URL is not set.
    #[arg(long, env = "GATEFOLD_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A real Postgres server (15 or newer) instead of the private one: the address of the role that owns the tables.
    ///
    /// `gatefold migrate` makes the roles gatefold_app and gatefold_promoter; their passwords follow from the master key.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// 64 hexadecimal digits from which every secret follows. Without it: <data>/master.key, made at the first start.
    #[arg(long, env = "GATEFOLD_MASTER_KEY", value_name = "HEX", hide_env_values = true)]
    pub master_key: Option<String>,
}

/// How the server answers.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Where to listen. Plain http is answered on loopback only; put TLS in front of it.
    #[arg(long, env = "GATEFOLD_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Where Prometheus reads the metrics: a private address.
    #[arg(long, env = "GATEFOLD_METRICS", default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub metrics: SocketAddr,
    /// The address that fans see, in emails and links: https://tickets.example
    #[arg(long, env = "GATEFOLD_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<Url>,
    /// The mail server: smtps://user:password@mail.example:465 or smtp://mail.example:587. TLS is required unless it is this machine.
    #[arg(long, env = "GATEFOLD_SMTP", value_name = "URL", hide_env_values = true)]
    pub smtp: Option<String>,
    /// Who the emails come from.
    #[arg(long, env = "GATEFOLD_MAIL_FROM", default_value = "Gatefold <tickets@localhost>", value_name = "ADDRESS")]
    pub mail_from: String,
    /// Offer the simulated bank beside real payment providers. For rehearsals: it takes no money.
    #[arg(long, env = "GATEFOLD_SIMULATED_PAYMENTS")]
    pub simulated_payments: bool,
    /// Addresses of proxies whose X-Forwarded-For counts.
    #[arg(long, env = "GATEFOLD_TRUSTED_PROXIES", value_delimiter = ',', value_name = "IP,..")]
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// Log lines as JSON.
    #[arg(long, env = "GATEFOLD_LOG_JSON")]
    pub log_json: bool,
}

/// What commands may look at: everything else of the settings is used up at the start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address that fans see, without a slash at its end.
    pub public_url: String,
    /// Who the emails come from.
    pub mail_from: String,
    /// Where files live.
    pub files: PathBuf,
    /// Whether the simulated bank is offered.
    pub simulated_payments: bool,
    /// Whether the mailbox page and the sign-in hints of the demo are shown.
    pub demo: bool,
    /// Proxies whose X-Forwarded-For counts.
    pub trusted_proxies: Vec<std::net::IpAddr>,
}

impl Settings {
    /// The host of the public address, for Message-IDs.
    #[must_use]
    pub fn host(&self) -> String {
        Url::parse(&self.public_url).ok().and_then(|u| u.host_str().map(str::to_owned)).unwrap_or_else(|| "localhost".to_owned())
    }

    /// Whether fans come over TLS, so that cookies may be `Secure` and carry `__Host-`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.public_url.starts_with("https://")
    }
}

impl Place {
    /// The data folder: the flag, or `gatefold` in the user's data folder (XDG Base Directory).
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| {
            let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
            std::env::var_os("XDG_DATA_HOME").map_or_else(|| home.join(".local/share"), PathBuf::from).join("gatefold")
        })
    }
}

/// Checks the settings of `serve` that depend on each other.
///
/// # Errors
/// A sentence for the operator.
pub fn public_url(serve: &Serve, bound: SocketAddr, demo: bool) -> anyhow::Result<String> {
    match &serve.public_url {
        Some(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => {
            let loopback = match url.host() {
                Some(url::Host::Ipv4(a)) => a.is_loopback(),
                Some(url::Host::Ipv6(a)) => a.is_loopback(),
                Some(url::Host::Domain(d)) => d == "localhost",
                None => false,
            };
            anyhow::ensure!(
                url.scheme() == "https" || loopback,
                "--public-url {url} is plain http to another machine; fans need https (only loopback is served without)"
            );
            Ok(url.as_str().trim_end_matches('/').to_owned())
        }
        Some(url) => anyhow::bail!("--public-url {url} is not an address like https://tickets.example"),
        None if demo => Ok(format!("http://{bound}")),
        None => anyhow::bail!("--public-url is missing: the address that fans see, like https://tickets.example"),
    }
}
