//! What the routes work with.

/// What is known when the function starts.
pub struct App {
    /// Where presigned URLs lead: `https://` and the bucket's host.
    pub upload_origin: String,
}
