// The shim in one piece: what takes the compiler long is libtorch's headers, which it reads once so.
#include "autograd.cpp"
#include "devices.cpp"
#include "memory.cpp"
#include "nodes.cpp"
#include "operators.cpp"
#include "panels.cpp"
