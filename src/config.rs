//! Settings: one struct from flags and environment; `--help` is the manual. A bad setting is a sentence, not a panic.

use std::{net::SocketAddr, os::unix::fs::MetadataExt, path::PathBuf};

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
    /// Where Stripe's API answers. Only a rehearsal against a stand-in needs another address.
    #[arg(long, env = "GATEFOLD_STRIPE_URL", default_value = "https://api.stripe.com", value_name = "URL")]
    pub stripe_url: Url,
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
    /// Where Stripe's API answers.
    pub stripe_url: String,
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
    /// The data folder: the flag, or `gatefold` in the user's data folder (XDG Base Directory), for root in /var/lib (FHS 5.8).
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        let of = |name: &str| std::env::var_os(name).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        self.data.clone().unwrap_or_else(|| default_folder(is_root(), of("XDG_DATA_HOME"), of("HOME")))
    }
}

/// Where data lies when nobody says where. As root the private Postgres runs as another user, who cannot enter the home of root.
fn default_folder(root: bool, xdg: Option<PathBuf>, home: Option<PathBuf>) -> PathBuf {
    let parent = match (xdg, home) {
        (Some(xdg), _) => xdg,
        (None, _) if root => PathBuf::from("/var/lib"),
        (None, Some(home)) => home.join(".local/share"),
        (None, None) => PathBuf::from("/var/tmp"),
    };
    parent.join("gatefold")
}

/// Whether we run as root.
#[must_use]
pub fn is_root() -> bool {
    let me = std::fs::metadata("/proc/self").map(|m| m.uid());
    me.map_or_else(|_| std::env::var("USER").is_ok_and(|u| u == "root"), |uid| uid == 0)
}

/// Checks the settings of `serve` that depend on each other.
///
/// # Errors
/// A sentence for the operator.
pub fn public_url(serve: &Serve, bound: SocketAddr, demo: bool) -> anyhow::Result<String> {
    match &serve.public_url {
        Some(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => {
            anyhow::ensure!(
                url.scheme() == "https" || is_loopback(url),
                "--public-url {url} is plain http to another machine; fans need https (only loopback is served without)"
            );
            Ok(url.as_str().trim_end_matches('/').to_owned())
        }
        Some(url) => anyhow::bail!("--public-url {url} is not an address like https://tickets.example"),
        None if demo => Ok(format!("http://{bound}")),
        None => anyhow::bail!("--public-url is missing: the address that fans see, like https://tickets.example"),
    }
}

/// The address of Stripe: keys of promoters go there, so it is https or this machine.
///
/// # Errors
/// A sentence for the operator.
pub fn stripe_url(serve: &Serve) -> anyhow::Result<String> {
    let url = &serve.stripe_url;
    anyhow::ensure!(url.scheme() == "https" || is_loopback(url), "--stripe-url {url} is plain http to another machine; keys need https");
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(a)) => a.is_loopback(),
        Some(url::Host::Ipv6(a)) => a.is_loopback(),
        Some(url::Host::Domain(d)) => d == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_root_lies_where_the_user_of_its_postgres_can_enter() {
        let folder = |root, xdg: Option<&str>, home: Option<&str>| default_folder(root, xdg.map(PathBuf::from), home.map(PathBuf::from));
        assert_eq!(folder(true, None, Some("/root")), PathBuf::from("/var/lib/gatefold"));
        assert_eq!(folder(false, None, Some("/home/mara")), PathBuf::from("/home/mara/.local/share/gatefold"));
        assert_eq!(folder(false, Some("/data"), Some("/home/mara")), PathBuf::from("/data/gatefold"));
        assert_eq!(folder(true, Some("/data"), Some("/root")), PathBuf::from("/data/gatefold"));
        assert_eq!(folder(false, None, None), PathBuf::from("/var/tmp/gatefold"));
    }
}
