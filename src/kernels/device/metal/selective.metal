#include "../compat/metal.h"
#include "../shared/selective.entry.h"
