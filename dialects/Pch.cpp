// Holds the precompiled header of the compiler libraries; nothing else.
