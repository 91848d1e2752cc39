"""The control plane's wire: who may call, and how each call is answered."""
