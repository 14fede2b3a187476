//! Drives thousands of connections against Tidings servers and says whether the SLAs hold.
