//! A form with a file: its fields first, then the file's bytes as they come. What a browser sends is never held whole.

use super::{Visit, params::Params, refusal::PageRefusal};
use crate::{domain::settlement::FILE_BYTES_MAX, http::places::ConnectionPlace};
use axum::{
    body::Body,
    http::{HeaderMap, header::CONTENT_TYPE},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use multer::{Constraints, Field, Multipart, SizeLimit};
use std::{io, sync::Arc};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

/// The field with the file: the last one of its form.
pub const FILE: &str = "file";
/// Of each other field.
const FIELD_BYTES_MAX: u64 = 4 * 1024;
const FIELDS_MAX: usize = 16;
/// Beside the file.
const FORM_BYTES_MAX: u64 = 1024 * 1024;

const NOT_WHOLE: PageRefusal = PageRefusal::Senseless("The form is not whole: open its page again.");

pub fn is_upload(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"))
}

/// A form whose file is still to come.
pub struct Upload {
    multipart: Multipart<'static>,
    place: Option<Arc<ConnectionPlace>>,
}

impl Upload {
    pub fn new(
        headers: &HeaderMap,
        body: Body,
        place: Option<Arc<ConnectionPlace>>,
    ) -> Result<Self, PageRefusal> {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).ok_or(NOT_WHOLE)?;
        let boundary = multer::parse_boundary(kind).map_err(|_| NOT_WHOLE)?;
        let limits = SizeLimit::new()
            .whole_stream(FILE_BYTES_MAX + FORM_BYTES_MAX)
            .per_field(FIELD_BYTES_MAX)
            // One byte more: its reader says that the file is too large.
            .for_field(FILE, FILE_BYTES_MAX + 1);
        let constraints = Constraints::new().size_limit(limits);
        let multipart = Multipart::with_constraints(body.into_data_stream(), boundary, constraints);
        Ok(Self { multipart, place })
    }

    /// The visit with the fields before the file, and the file.
    pub async fn read(&mut self, mut visit: Visit) -> Result<(Visit, UploadedFile), PageRefusal> {
        let mut fields = Vec::new();
        loop {
            let field = self.multipart.next_field().await.map_err(|_| NOT_WHOLE)?.ok_or(NOT_WHOLE)?;
            let name = field.name().unwrap_or_default().to_owned();
            if name == FILE {
                visit.form = Params::from_fields(fields);
                let name = field.file_name().unwrap_or_default().to_owned();
                return Ok((visit, UploadedFile { name, field, place: self.place.clone() }));
            }
            if fields.len() == FIELDS_MAX {
                return Err(NOT_WHOLE);
            }
            fields.push((name, field.text().await.map_err(|_| NOT_WHOLE)?));
        }
    }
}

pub struct UploadedFile {
    /// As the browser says.
    pub name: String,
    field: Field<'static>,
    place: Option<Arc<ConnectionPlace>>,
}

impl UploadedFile {
    /// Its bytes. While they come, the connection keeps its place.
    pub fn bytes(self) -> impl AsyncRead + Send + Unpin {
        let Self { field, place, .. } = self;
        StreamReader::new(chunks(field, place))
    }
}

fn chunks(
    field: Field<'static>,
    place: Option<Arc<ConnectionPlace>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin {
    field.map(move |chunk| {
        if let Some(place) = &place {
            place.finished();
        }
        chunk.map_err(|error| io::Error::other(error.to_string()))
    })
}
