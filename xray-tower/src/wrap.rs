//! What both layers, and both services, have in common with any that wraps
//! another: nothing here knows of traces.

/// Of a layer made of `options` and `kinds`.
macro_rules! layer {
    ($layer:ident, $service:ident) => {
        impl<K> $layer<K> {
            fn options_mut(&mut self) -> &mut Options {
                std::sync::Arc::make_mut(&mut self.options)
            }
        }

        impl<S, K> tower_layer::Layer<S> for $layer<K> {
            type Service = $service<S, K>;

            fn layer(&self, inner: S) -> Self::Service {
                $service::new(inner, self.options.clone())
            }
        }

        impl<K> Clone for $layer<K> {
            fn clone(&self) -> Self {
                Self {
                    options: self.options.clone(),
                    kinds: std::marker::PhantomData,
                }
            }
        }

        impl<K> std::fmt::Debug for $layer<K> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut out = f.debug_tuple(stringify!($layer));
                out.field(&self.options).finish()
            }
        }
    };
}

/// Of a service made of `inner`, `options` and `kinds`.
macro_rules! service {
    ($service:ident) => {
        impl<S, K> $service<S, K> {
            pub(super) fn new(inner: S, options: std::sync::Arc<Options>) -> Self {
                Self {
                    inner,
                    options,
                    kinds: std::marker::PhantomData,
                }
            }

            /// The service within.
            pub fn get_ref(&self) -> &S {
                &self.inner
            }

            /// The service within.
            pub fn get_mut(&mut self) -> &mut S {
                &mut self.inner
            }

            /// The service within, alone.
            pub fn into_inner(self) -> S {
                self.inner
            }
        }

        impl<S: Clone, K> Clone for $service<S, K> {
            fn clone(&self) -> Self {
                Self::new(self.inner.clone(), self.options.clone())
            }
        }

        impl<S: std::fmt::Debug, K> std::fmt::Debug for $service<S, K> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut out = f.debug_struct(stringify!($service));
                out.field("inner", &self.inner);
                out.field("options", &self.options).finish()
            }
        }
    };
}

pub(crate) use {layer, service};
