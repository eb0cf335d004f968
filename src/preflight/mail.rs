//! Whether emails will arrive: the mail server takes us, and the names say that it may (SPF, DKIM, DMARC).

use std::{net::SocketAddr, time::Duration};

use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::RData,
};
use lettre::message::Mailbox;

use super::{Finding, Preflight};
use crate::mailer::Mailer;

/// How long a server may think.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks at mail server and names.
pub(super) async fn look(what: &Preflight) -> Vec<Finding> {
    let mut found = vec![server(what.smtp.as_deref()).await];
    let domain = match what.mail_from.parse::<Mailbox>() {
        Ok(mailbox) => mailbox.email.domain().to_owned(),
        Err(error) => {
            found.push(Finding::bad("sender", format!("--mail-from {} is not an address: {error}", what.mail_from)));
            return found;
        }
    };
    if domain == "localhost" {
        found.push(Finding::bad("sender", "emails come from localhost, which no mail server takes; set --mail-from"));
        return found;
    }
    let Some(resolver) = resolver(what.name_server) else {
        found.push(Finding::bad("names", "this machine has no name server"));
        return found;
    };
    found.push(match texts(&resolver, &domain).await {
        Ok(texts) => spf(&domain, &texts),
        Err(error) => Finding::bad("SPF", format!("{domain}: {error}")),
    });
    found.push(match &what.dkim_selector {
        None => Finding::odd("DKIM", "not looked at; say --dkim-selector, the name under which the mail server signs"),
        Some(selector) => {
            let name = format!("{selector}._domainkey.{domain}");
            match texts(&resolver, &name).await {
                Ok(texts) if texts.iter().any(|t| dkim_key(t)) => Finding::good("DKIM", format!("{name} holds a key")),
                Ok(_) => Finding::bad("DKIM", format!("{name} holds no key: what is signed cannot be verified")),
                Err(error) => Finding::bad("DKIM", format!("{name}: {error}")),
            }
        }
    });
    let name = format!("_dmarc.{domain}");
    found.push(match texts(&resolver, &name).await {
        Ok(texts) => match texts.iter().find(|t| t.starts_with("v=DMARC1")) {
            Some(policy) => Finding::good("DMARC", format!("{name}: {policy}")),
            None => Finding::bad("DMARC", format!("{name} has no policy; large mailboxes refuse bulk email without one")),
        },
        Err(error) => Finding::bad("DMARC", format!("{name}: {error}")),
    });
    found
}

/// Greets the mail server as the outbox will, with TLS and password.
async fn server(address: Option<&str>) -> Finding {
    let Some(address) = address else { return Finding::bad("mail server", "none is set (--smtp): no ticket would be mailed") };
    match Mailer::smtp(address) {
        Ok(Mailer::Smtp(transport)) => match tokio::time::timeout(PATIENCE, transport.test_connection()).await {
            Ok(Ok(true)) => Finding::good("mail server", "takes us"),
            Ok(Ok(false)) => Finding::bad("mail server", "was reached and does not take us"),
            Ok(Err(error)) => Finding::bad("mail server", error.to_string()),
            Err(_) => Finding::bad("mail server", "no answer within twenty seconds"),
        },
        Ok(_) => Finding::bad("mail server", "is none"),
        Err(error) => Finding::bad("mail server", error.to_string()),
    }
}

/// RFC 7208, 3.2 and 4.7: one record, and it has to end in a decision.
fn spf(domain: &str, texts: &[String]) -> Finding {
    let records: Vec<&String> = texts.iter().filter(|t| t.as_str() == "v=spf1" || t.starts_with("v=spf1 ")).collect();
    match records.as_slice() {
        [] => Finding::bad("SPF", format!("{domain} does not say who may send its emails")),
        [record] if record.ends_with("+all") || record.ends_with(" all") => Finding::odd("SPF", format!("{domain} lets everybody send: {record}")),
        [record] => Finding::good("SPF", format!("{domain}: {record}")),
        _ => Finding::bad("SPF", format!("{domain} has {} records; more than one counts as none", records.len())),
    }
}

/// RFC 6376, 3.6.1: an empty key is a revoked one.
fn dkim_key(text: &str) -> bool {
    text.split(';').filter_map(|tag| tag.trim().strip_prefix("p=")).any(|key| !key.trim().is_empty())
}

fn resolver(name_server: Option<SocketAddr>) -> Option<TokioResolver> {
    let builder = match name_server {
        Some(address) => {
            let mut udp = ConnectionConfig::udp();
            udp.port = address.port();
            let server = NameServerConfig::new(address.ip(), true, vec![udp]);
            Resolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), vec![server]), TokioRuntimeProvider::default())
        }
        None => Resolver::builder_tokio().ok()?,
    };
    builder.build().ok()
}

/// The texts of a name, none when it has none.
async fn texts(resolver: &TokioResolver, name: &str) -> Result<Vec<String>, String> {
    // With its dot at the end it is asked as it is, whatever the machine appends to names.
    match tokio::time::timeout(PATIENCE, resolver.txt_lookup(format!("{name}."))).await {
        Ok(Ok(found)) => {
            let texts = found.answers().iter().filter_map(|record| match &record.data {
                RData::TXT(text) => Some(text.to_string()),
                _ => None,
            });
            Ok(texts.collect())
        }
        Ok(Err(error)) if error.is_no_records_found() || error.is_nx_domain() => Ok(Vec::new()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer of the name server".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Level;

    #[test]
    fn what_names_say_is_judged() {
        let level = |texts: &[&str]| spf("x.example", &texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()).level;
        assert_eq!(level(&["v=spf1 include:_spf.mail.example -all", "something else"]), Level::Good);
        assert_eq!(level(&["v=spf1 +all"]), Level::Odd);
        assert_eq!(level(&["v=spf10 -all"]), Level::Bad);
        assert_eq!(level(&["v=spf1 -all", "v=spf1 mx -all"]), Level::Bad);
        assert_eq!(level(&[]), Level::Bad);
        assert!(dkim_key("v=DKIM1; k=rsa; p=MIGfMA0"));
        assert!(!dkim_key("v=DKIM1; p="));
        assert!(!dkim_key("v=DKIM1; k=rsa"));
    }
}
