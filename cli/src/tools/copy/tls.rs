//! The TLS options of `rzeo copy`.

use crate::tools::tls_options::TlsFiles;

/// Which sides use TLS. The files are for both connections.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "TLS options")]
pub(super) struct TlsOptions {
    /// Connect to FROM with TLS
    #[arg(long)]
    pub(super) from_tls: bool,

    /// Connect to TO with TLS
    #[arg(long)]
    pub(super) to_tls: bool,

    #[command(flatten)]
    pub(super) files: TlsFiles,
}
