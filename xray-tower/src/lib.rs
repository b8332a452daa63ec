//! Tower layers that trace HTTP servers and clients with AWS X-Ray.
