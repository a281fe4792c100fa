//! The App Runner control API over a platform.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
