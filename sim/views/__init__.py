"""The same worlds and tasks behind the interfaces of other libraries: dm_env and Gymnasium."""
