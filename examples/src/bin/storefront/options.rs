//! The command line.

/// What the program was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) listen: String,
    pub(crate) inventory: String,
    pub(crate) inventory_url: Option<String>,
    pub(crate) requests: Option<usize>,
    pub(crate) queue: Option<usize>,
}

pub(crate) const USAGE: &str = "\
usage: storefront [--listen ADDRESS] [--inventory ADDRESS | --inventory-url URL]
                  [--queue N] [--requests N]

  --listen ADDRESS      where the storefront serves (127.0.0.1:3000)
  --inventory ADDRESS   where its inventory serves (127.0.0.1:3001)
  --inventory-url URL   an inventory that already runs: GET URL/stock/{order}
  --queue N             finished pieces that may wait for the emission thread (4096)
  --requests N          drive N requests over every route, print what became of
                        the documents, and end

Traces go to the daemon at AWS_XRAY_DAEMON_ADDRESS; when that is not set, they
are printed here.";

impl Options {
    /// `None` when help is wanted; what is wrong otherwise.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            listen: "127.0.0.1:3000".to_owned(),
            inventory: "127.0.0.1:3001".to_owned(),
            inventory_url: None,
            requests: None,
            queue: None,
        };
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .ok_or(format!("{word} needs a value\n\n{USAGE}"))
            };
            match word.as_str() {
                "--listen" => options.listen = value()?,
                "--inventory" => options.inventory = value()?,
                "--inventory-url" => {
                    options.inventory_url = Some(value()?.trim_end_matches('/').to_owned());
                }
                "--requests" => options.requests = Some(number(&value()?)?),
                "--queue" => options.queue = Some(number(&value()?)?),
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown argument {word}\n\n{USAGE}")),
            }
        }
        Ok(Some(options))
    }
}

fn number(text: &str) -> Result<usize, String> {
    let number = text.parse();
    number.map_err(|_| format!("{text} is no number\n\n{USAGE}"))
}
