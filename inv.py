import ants, numpy as np
from scipy.spatial.transform import Rotation as R
t=ants.new_ants_transform(dimension=3,transform_type='Euler3DTransform')
t.set_fixed_parameters((5.,6,7)); t.set_parameters((.1,.2,-.1,3,4,5))
ants.write_transform(t,'/tmp/check/t.mat')
i=ants.read_transform('/tmp/check/t.mat').invert()
ants.write_transform(i,'/tmp/check/i.mat')
t2=ants.read_transform('/tmp/check/t.mat'); i2=ants.read_transform('/tmp/check/i.mat')
p=(10.,-20,30)
print(t2.apply_to_point(p), i2.apply_to_point(t2.apply_to_point(p)), i2.transform_type, i2.parameters)
