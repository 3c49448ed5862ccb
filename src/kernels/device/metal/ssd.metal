#include "../compat/metal.h"
#include "../shared/ssd.entry.h"
