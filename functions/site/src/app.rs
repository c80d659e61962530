//! What the routes work with.

/// What is known when the function starts.
pub struct App {
    /// Where presigned URLs lead: the bucket's origin.
    pub upload_origin: String,
}
